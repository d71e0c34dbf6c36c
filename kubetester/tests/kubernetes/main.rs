//! The drills on Kubernetes, against an API server over HTTP: what they ask, what they note, and what they say when
//! they may not.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod changes;
mod deployment;
mod program;
mod refusals;
