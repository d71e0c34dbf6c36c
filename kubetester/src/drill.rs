//! Drills: breaks something on purpose while load runs, puts it right again, and says what it cost.
//!
//! - [`scenario`]: what is done, in which order.
//! - [`platform`]: the system that it is done to, behind one trait; [`demo`], [`compose`],
//!   [`processes`] and [`kubernetes`] are such systems.
//! - [`event_log`]: what happened when. [`success_log`]: which pod answered when. [`paths`]: the calls by path.
//! - [`analysis`]: the two compared: the longest gap, which pods were lost, which were found and how soon.
//! - [`expect`], [`verdict`], [`result`]: whether that was good enough, in words, and as one document.

pub mod analysis;
pub mod compose;
pub mod demo;
pub mod event_log;
pub mod expect;
pub mod kubernetes;
pub mod paths;
pub mod platform;
pub mod processes;
pub mod result;
pub mod scenario;
pub mod success_log;
pub mod verdict;
