//! Runs the requests of an HTTP/2 connection.

use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Polls each request once where it arrives, and spawns it only if it has to wait. A flood of requests that are rejected
/// at once, on many connections, then never becomes as many tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct EagerExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for EagerExecutor {
    fn execute(&self, request: F) {
        let mut request = Box::pin(request);
        // The task polls it again, and then with a waker that counts.
        if request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(request);
        }
    }
}
