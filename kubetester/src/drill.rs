//! Drills: break something on purpose while load runs, restore it, and measure the effect on the calls.
//!
//! - [`scenario`]: the sequence of events.
//! - [`platform`]: the trait of the drilled system; [`demo`], [`compose`],
//!   [`processes`] and [`kubernetes`] implement it.
//! - [`event_log`]: the times of events. [`success_log`]: the times of answers by pod. [`paths`]: the calls by path.
//! - [`analysis`]: compares events and answers: the longest gap, the lost pods, and the discovery time of new pods.
//! - [`expect`]: checks the expectations. [`verdict`]: the outcome in sentences. [`result`]: the JSON document.

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
