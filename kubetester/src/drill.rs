//! Drills: breaks something on purpose while load runs, puts it right again, and says what it cost.
//!
//! - [`scenario`]: what is done, in which order.
//! - [`stage`]: the system that it is done to, behind one trait; [`demo`], [`compose`] and [`kubernetes`] are
//!   such systems.
//! - [`journal`]: what happened when. [`trail`]: who answered when.
//! - [`findings`]: the two compared: the longest gap, who was lost, who was found and how soon.
//! - [`expect`], [`verdict`], [`result`]: whether that was good enough, in words, and as one document.

pub mod compose;
pub mod demo;
pub mod expect;
pub mod findings;
pub mod journal;
pub mod kubernetes;
pub mod result;
pub mod scenario;
pub mod stage;
pub mod trail;
pub mod verdict;
