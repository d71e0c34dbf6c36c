//! Runs the requests of an HTTP/2 connection.

use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Polls each request once on the task of its connection, and spawns it only if it is pending. A flood of requests that are
/// rejected at once therefore spawns no tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct EagerExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for EagerExecutor {
    fn execute(&self, request: F) {
        let mut request = Box::pin(request);
        // The new task polls it again with a real waker, so no wakeup is lost.
        if request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(request);
        }
    }
}
