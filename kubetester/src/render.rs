//! How results are shown to a person at a terminal.

mod bar;
mod load;
mod words;

pub use self::{
    bar::bar,
    load::load,
    words::{count, percent, time},
};
