//! Client-side health checking (gRFC A17): what a server itself says of the service that is wanted,
//! watched on the connection that calls would go to.

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
    uri::{Authority, PathAndQuery, Scheme},
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, body::Body, client::Grpc};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::{
    backoff::{Backoff, BackoffPolicy},
    transport::Source,
    transport::{Incoming, Sender},
};

const WATCH: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
/// A watch that lasted less is not begun again at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// What is watched on each connection of a channel.
#[derive(Debug)]
pub(crate) struct HealthCheck {
    service: String,
    origin: Uri,
    /// Whether it was said that a server has no health service; once is enough.
    told: AtomicBool,
}

/// What is known of a server's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing: the server is asked.
    Asked,
    /// Calls may go there. How the server put it.
    Good(&'static str),
    /// Calls should go elsewhere. How the server put it, and the sentence for people.
    Bad(Option<&'static str>, String),
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// One connection, as tonic's client wants it.
struct OneConnection(Sender);

// === impl HealthCheck ===

impl HealthCheck {
    /// Watches `service` with the scheme and the authority of calls.
    pub(crate) fn new(service: String, scheme: &Scheme, authority: &Authority) -> Self {
        let origin = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/");
        let origin = origin.build().expect("a scheme, an authority and a path make a URI");
        Self { service, origin, told: AtomicBool::new(false) }
    }

    /// Watches the server behind `sender` until it is dropped, and tells each change.
    pub(crate) async fn watch(
        &self,
        address: SocketAddr,
        sender: Sender,
        backoff: BackoffPolicy,
        mut tell: impl FnMut(Health),
    ) {
        let mut backoff = Backoff::new(backoff);
        let mut last = Health::Asked;
        let mut change = |health: Health| {
            if last != health {
                last = health.clone();
                tell(health);
            }
        };
        loop {
            let began = Instant::now();
            let mut heard = false;
            let status = self.watch_once(sender.clone(), |status| {
                heard = true;
                change(self.health(address, status));
            });
            let status = status.await;
            if status.code() == Code::Unimplemented {
                self.tell_unimplemented(address);
                change(Health::Good("UNIMPLEMENTED"));
                return pending().await;
            }
            if sender.is_closed() {
                // The connection says that better.
                return pending().await;
            }
            let why = format!("{address}: the health watch ended: {status}");
            change(Health::Bad(None, why));
            if heard && began.elapsed() >= SHORT_LIFE {
                backoff.reset();
            } else {
                sleep(backoff.wait()).await;
            }
            change(Health::Asked);
        }
    }

    /// Watches until the call ends, and says how.
    async fn watch_once(&self, sender: Sender, mut heard: impl FnMut(ServingStatus)) -> Status {
        let mut client = Grpc::with_origin(OneConnection(sender), self.origin.clone());
        if let Err(error) = client.ready().await {
            return Status::unavailable(error.to_string());
        }
        let request = tonic::Request::new(HealthCheckRequest { service: self.service.clone() });
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let mut answers = match client.server_streaming(request, WATCH, codec).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        loop {
            match answers.message().await {
                Ok(Some(answer)) => heard(answer.status()),
                Ok(None) => return Status::unavailable("the server ended it"),
                Err(status) => return status,
            }
        }
    }

    fn health(&self, address: SocketAddr, status: ServingStatus) -> Health {
        let name = status.name();
        if status == ServingStatus::Serving {
            return Health::Good(name);
        }
        let what = if self.service.is_empty() { "itself" } else { &self.service };
        Health::Bad(Some(name), format!("{address}: the server says that {what} is {name}"))
    }

    fn tell_unimplemented(&self, address: SocketAddr) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %address,
                "health checking is configured, and the server has no grpc.health.v1.Health/Watch; it counts as healthy"
            );
        }
    }
}

// === impl ServingStatus ===

impl ServingStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

// === impl OneConnection ===

impl Service<Request<Body>> for OneConnection {
    type Response = Response<Incoming>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sender = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let source = Source::read(body, 0).await?;
            Ok(sender.send(|| Request::from_parts(head, source.attempt())).await?)
        })
    }
}
