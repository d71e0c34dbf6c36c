//! A result as one page of HTML that needs nothing else: no network, no script. It is read on a phone and on paper, in
//! light and dark.
//!
//! - `file`: where the page goes, whole or not at all. `about`: what was run, and when.
//! - `page`, `drill`: what stands on it, in the templates' terms; the templates are in `templates/`. `panel`: all
//!   about one load.
//! - `plots`: which plots there are. A `plot` is shapes with labels around it; a `scale` places values and finds the
//!   ticks, a `path` is the outline of a shape, `spans` are what the horizontal axis of time is cut into.
//!
//! The paths are our own: the crates that plot write colours and sizes of letters into the SVG, and then it is neither
//! readable on a phone nor in the dark. Here a path is stretched to the width that there is, a stylesheet has the
//! colours, and labels are text of the page.

mod drill;
mod file;
mod format;
mod intervals;
mod page;
mod panel;
mod path;
mod plot;
mod plots;
mod pod_timeline;
mod pods;
mod run_info;
mod scale;

pub use self::{
    drill::drill,
    file::{CannotWrite, ReportFile},
    page::{compare, load},
    run_info::About,
};
