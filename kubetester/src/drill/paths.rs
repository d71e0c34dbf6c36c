//! The calls of a drill by path, where a drill calls more than one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

use crate::engine::{Call, Outcome};

/// The calls to one of several paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PathCalls {
    /// The path of the gateway.
    pub path: String,
    /// Calls that ended.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
}

/// Counts the calls to one path. Calls that time out are dropped, and count as failed.
#[derive(Debug)]
pub struct PathCounter {
    path: String,
    started: AtomicU64,
    succeeded: AtomicU64,
}

/// A caller that counts its calls and whose errors name the path.
pub struct PathCaller<C> {
    caller: C,
    counter: Arc<PathCounter>,
}

// === impl PathCounter ===

impl PathCounter {
    /// Creates a counter for a path.
    pub fn new(path: &str) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), started: AtomicU64::new(0), succeeded: AtomicU64::new(0) })
    }

    /// Wraps `caller` so that its calls are counted.
    pub fn wrap<C: Call>(self: &Arc<Self>, caller: C) -> PathCaller<C> {
        PathCaller { caller, counter: self.clone() }
    }

    /// Returns the calls so far.
    pub fn calls(&self) -> PathCalls {
        let (calls, succeeded) =
            (self.started.load(Ordering::Relaxed), self.succeeded.load(Ordering::Relaxed));
        PathCalls { path: self.path.clone(), calls, failed: calls.saturating_sub(succeeded) }
    }
}

// === impl PathCaller ===

impl<C: Call> Call for PathCaller<C> {
    async fn call(&mut self) -> Outcome {
        self.counter.started.fetch_add(1, Ordering::Relaxed);
        let Outcome { pod, error, messages } = self.caller.call().await;
        if error.is_none() {
            self.counter.succeeded.fetch_add(1, Ordering::Relaxed);
        }
        Outcome { pod, error: error.map(|error| format!("{}: {error}", self.counter.path)), messages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(bool);

    impl Call for Fails {
        async fn call(&mut self) -> Outcome {
            Outcome { error: self.0.then(|| "refused".to_owned()), ..Outcome::default() }
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_path_and_errors_name_it() {
        let counter = PathCounter::new("/hellohttp");
        assert_eq!(counter.wrap(Fails(false)).call().await.error, None);
        assert_eq!(counter.wrap(Fails(true)).call().await.error.unwrap(), "/hellohttp: refused");
        // A call that is dropped before its outcome is known.
        struct Hangs;
        impl Call for Hangs {
            async fn call(&mut self) -> Outcome {
                std::future::pending().await
            }
        }
        let mut hangs = counter.wrap(Hangs);
        assert!(futures_util::poll!(std::pin::pin!(hangs.call())).is_pending());
        assert_eq!(counter.calls(), PathCalls { path: "/hellohttp".to_owned(), calls: 3, failed: 2 });
    }
}
