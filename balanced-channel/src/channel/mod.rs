//! The channel: a handle to its tasks, and the entry point of calls.

mod build;
mod builder;
mod endpoint_metrics;
mod snapshot;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use build::BuildError;
pub use builder::Builder;
use http::{Request, Response};
pub use snapshot::{ChannelSnapshot, ResolverSnapshot, RetrySnapshot, SubchannelSnapshot};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};
use tower_service::Service;

use crate::{
    call::{CallExecutor, ResponseBody},
    metrics::Metric,
    resolver::Resolution,
    subchannel::Connectivity,
    transport::Http2Config,
};

/// A gRPC channel that spreads calls over every endpoint of its target.
///
/// Cloning is cheap, and all clones share the same connections. They close when the last clone is
/// dropped and the last call has ended.
#[derive(Clone)]
pub struct Channel {
    pub(crate) inner: Arc<Inner>,
}

/// The state that the clones of a channel share.
pub(crate) struct Inner {
    pub(crate) executor: CallExecutor,
    pub(crate) resolution: watch::Receiver<Resolution>,
    pub(crate) http2: Http2Config,
    pub(crate) _balancer: AbortOnDropHandle<()>,
    pub(crate) _resolver: AbortOnDropHandle<()>,
}

/// The response of a call, once it begins.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Status>> + Send>>;

// === impl Channel ===

impl Channel {
    /// Returns the current state of the channel, its resolver and its subchannels.
    pub fn snapshot(&self) -> ChannelSnapshot {
        let executor = &self.inner.executor;
        ChannelSnapshot::take(executor, &self.inner.resolution, &self.inner.http2)
    }

    /// Returns the state of the channel as a whole (gRPC connectivity semantics). Calls are sent in READY, wait in
    /// CONNECTING and fail in TRANSIENT_FAILURE.
    pub fn state(&self) -> Connectivity {
        self.inner.executor.published.state()
    }

    /// Waits until the state differs from `from`, and returns it.
    pub async fn state_changed(&self, from: Connectivity) -> Connectivity {
        let published = &self.inner.executor.published;
        let mut versions = published.subscribe();
        loop {
            let state = published.state();
            // The publisher lives as long as the channel.
            if state != from || versions.changed().await.is_err() {
                return state;
            }
        }
    }

    /// Returns the metrics since the channel was built, under gRPC's names; see [`metrics`](crate::metrics).
    pub fn metrics(&self) -> Vec<Metric> {
        let CallExecutor { metrics, published, .. } = &self.inner.executor;
        metrics.read(endpoint_metrics::read(&published.subchannels()))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = ResponseFuture;

    /// Always ready: calls themselves wait for a connection.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let inner = self.inner.clone();
        let (mut head, body) = request.into_parts();
        // The functions below borrow the head. If they took it by value, each of their futures would hold a copy.
        Box::pin(async move { inner.executor.call(&mut head, body).await })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("target", &self.inner.executor.target).finish_non_exhaustive()
    }
}
