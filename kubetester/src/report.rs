//! Writes a result as a self-contained HTML page, without network access or scripts. The page is readable on a phone,
//! on paper, and in light and dark mode.
//!
//! - `file`: writes the page atomically. `run_info`: the command and time of the run.
//! - `page`, `drill`: the contents of the pages, rendered by the templates in `templates/`. `panel`: the part of a page
//!   about one load. `pod_timeline`: a row for each pod with its events.
//! - `plots`: the plots of a page. A `plot` consists of shapes with labels around them; a `scale` places values and
//!   chooses the ticks, a `path` is the outline of a shape, `intervals` divide the time axis, and `pods` assigns colours.
//!
//! Paths are drawn here because plotting crates write colours and font sizes into the SVG, which is then not readable
//! on a phone or in dark mode. Here a path is stretched to the available width, the stylesheet sets the colours, and
//! labels are text of the page.

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
mod streams;

pub use self::{
    drill::drill,
    file::{CannotWrite, ReportFile},
    page::{compare, load},
    run_info::About,
};
