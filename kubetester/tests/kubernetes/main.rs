//! The drills on Kubernetes, against an API server over HTTP: requests, events, and errors for missing permissions.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod changes;
mod deployment;
mod program;
mod refusals;
mod targets;
