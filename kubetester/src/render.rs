//! Prints results as text for a terminal.

mod bar;
mod compare;
mod diff;
mod drill;
mod format;
mod load;
pub mod machines;
mod pods;
mod streams;
mod style;
mod table;
mod verdict;

pub use self::{
    bar::bar,
    compare::{compare, header, shown},
    diff::diff,
    drill::{consequence, drill},
    format::{count, counted, percent, time},
    load::load,
};
