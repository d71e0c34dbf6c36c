//! How results are shown to a person at a terminal.

mod bar;
mod compare;
mod drill;
mod load;
mod words;

pub use self::{
    bar::bar,
    compare::{compare, header, shown},
    drill::{consequence, drill},
    load::load,
    words::{count, percent, time},
};
