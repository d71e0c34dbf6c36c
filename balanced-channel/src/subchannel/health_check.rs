//! Client-side health checking (gRFC A17): watches the health that a server reports for a service, on the same
//! connection as the calls.

use std::{
    error::Error,
    future::pending,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{
    Request, Response, Uri,
    uri::{Authority, Scheme},
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower_service::Service;

use crate::{
    backoff::{Backoff, BackoffPolicy},
    compression::{COMPRESSION_ENCODINGS, unsupported_encoding_status},
    transport::ReplayBody,
    transport::{Http2Client, IncomingBody},
};

/// The minimum duration of a watch that is restarted at once. A shorter one is restarted after a backoff.
const MIN_WATCH_DURATION: Duration = Duration::from_secs(1);

/// The health check of each connection of a channel.
#[derive(Debug)]
pub(crate) struct HealthCheck {
    service: String,
    origin: Uri,
    /// True if a server without a health service was logged, which happens once per channel.
    unimplemented_logged: AtomicBool,
}

/// The known health of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthStatus {
    /// Unknown until the server's first response.
    Unknown,
    /// Calls may be sent. Has the server's status.
    Healthy(&'static str),
    /// Calls should go elsewhere. Has the server's status, if it sent one, and a message for users.
    Unhealthy(Option<&'static str>, String),
}

/// One connection as a service that tonic's client can use.
struct SingleConnection(Http2Client);

// === impl HealthCheck ===

impl HealthCheck {
    /// Creates a health check of `service` that uses the scheme and the authority of calls.
    pub(crate) fn new(service: String, scheme: &Scheme, authority: &Authority) -> Self {
        let origin = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/");
        let origin = origin.build().expect("a scheme, an authority and a path make a URI");
        Self { service, origin, unimplemented_logged: AtomicBool::new(false) }
    }

    /// Watches the health of the server at the other end of `client`, and reports each change. Never returns.
    pub(crate) async fn watch(
        &self,
        address: SocketAddr,
        client: Http2Client,
        backoff: BackoffPolicy,
        mut on_change: impl FnMut(HealthStatus),
    ) {
        let mut backoff = Backoff::new(backoff);
        let mut last = HealthStatus::Unknown;
        let mut change = |health: HealthStatus| {
            if last != health {
                last = health.clone();
                on_change(health);
            }
        };
        loop {
            let began = Instant::now();
            let mut responded = false;
            let status = self.watch_once(client.clone(), |status| {
                responded = true;
                change(self.health(address, status));
            });
            let status = status.await;
            if status.code() == Code::Unimplemented {
                self.log_unimplemented(address);
                change(HealthStatus::Healthy("UNIMPLEMENTED"));
                return pending().await;
            }
            if client.is_closed() {
                // The state of the connection has the reason.
                return pending().await;
            }
            let why = format!("{address}: the health watch ended: {status}");
            change(HealthStatus::Unhealthy(None, why));
            if responded && began.elapsed() >= MIN_WATCH_DURATION {
                backoff.reset();
            } else {
                sleep(backoff.wait()).await;
            }
            change(HealthStatus::Unknown);
        }
    }

    /// Watches until the call ends, and returns how it ended.
    async fn watch_once(&self, client: Http2Client, mut on_status: impl FnMut(ServingStatus)) -> Status {
        let health = HealthClient::with_origin(SingleConnection(client), self.origin.clone());
        let mut health =
            COMPRESSION_ENCODINGS.iter().fold(health, |health, encoding| health.accept_compressed(*encoding));
        let request = HealthCheckRequest { service: self.service.clone() };
        let mut responses = match health.watch(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => on_status(response.status()),
                Ok(None) => return Status::unavailable("the server ended it"),
                Err(status) => return status,
            }
        }
    }

    fn health(&self, address: SocketAddr, status: ServingStatus) -> HealthStatus {
        let name = status.as_str_name();
        if status == ServingStatus::Serving {
            return HealthStatus::Healthy(name);
        }
        let what = if self.service.is_empty() { "itself" } else { &self.service };
        HealthStatus::Unhealthy(Some(name), format!("{address}: the server reports that {what} is {name}"))
    }

    fn log_unimplemented(&self, address: SocketAddr) {
        if !self.unimplemented_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %address,
                "server does not implement grpc.health.v1.Health/Watch, so it counts as healthy"
            );
        }
    }
}

// === impl SingleConnection ===

impl Service<Request<Body>> for SingleConnection {
    type Response = Response<IncomingBody>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let source = ReplayBody::read(body, 0).await?;
            let response = client.send(|| Request::from_parts(head, source.attempt()), || {}).await?;
            // tonic's own status is UNIMPLEMENTED, which would mean a server without a health service.
            match unsupported_encoding_status(&response) {
                Some(status) => Err(status.into()),
                None => Ok(response),
            }
        })
    }
}
