//! Limits the calls in flight, and the time that an upload may take.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::Route};
use http::HeaderValue;
use http_body_util::BodyExt as _;
use prometheus::{IntCounterVec, Opts};
use tonic::Status;
use tower::{Service as _, layer::layer_fn, service_fn};
use tower_http::timeout::DeadlineBody;

use super::{HOSTNAME, ServerConfig, descriptors::Method, is_grpc};
use crate::{
    Metrics,
    http::{InFlightLimit, Permit, RequestKind},
};

/// The method that is always admitted.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// The time limit from the headers of a call to the end of its request, unless the client streams.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts the calls in flight against the limits.
pub(super) struct Admission {
    hostname: HeaderValue,
    unary: InFlightLimit,
    streaming: InFlightLimit,
    streaming_methods: HashSet<String>,
    client_streaming_methods: HashSet<String>,
    rejected: IntCounterVec,
}

/// The decision about one call. An admitted call without a permit is not limited.
enum Decision {
    Admit(Request, Option<Permit>),
    Reject(Response),
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(
        config: &ServerConfig,
        methods: &[Method],
        hostname: HeaderValue,
        metrics: &Metrics,
    ) -> Self {
        let options = Opts::new(
            "grpc_server_rejected_total",
            "Calls answered RESOURCE_EXHAUSTED because the limit on calls in flight was reached.",
        );
        let rejected = IntCounterVec::new(options, &["limit"]).expect("the name and label are valid");
        metrics.register(rejected.clone());
        let paths = |matches: fn(&Method) -> bool| {
            methods.iter().filter(|method| matches(method)).map(|method| method.path.clone()).collect()
        };
        let connections = config.connections.max_connections.get();
        Self {
            hostname,
            unary: InFlightLimit::new(RequestKind::Unary, config.max_concurrent_calls.get(), connections),
            streaming: InFlightLimit::new(
                RequestKind::Streaming,
                config.max_streaming_calls.get(),
                connections,
            ),
            streaming_methods: paths(|method| method.client_streaming || method.server_streaming),
            client_streaming_methods: paths(|method| method.client_streaming),
            rejected,
        }
    }

    /// Adds a layer to `router` that rejects calls above the limits. Rejected calls do not reach the middleware, so that they
    /// cost little.
    pub(super) fn in_front_of(self, router: Router) -> Router {
        let admission = Arc::new(self);
        router.layer(layer_fn(move |route: Route| {
            let admission = Arc::clone(&admission);
            service_fn(move |request: Request| {
                let decision = admission.admit(request);
                let mut route = route.clone();
                async move {
                    match decision {
                        Decision::Admit(request, None) => route.call(request).await,
                        Decision::Admit(request, Some(permit)) => {
                            route.call(request).await.map(|response| hold_until_end(response, permit))
                        }
                        Decision::Reject(response) => Ok(response),
                    }
                }
            })
        }))
    }

    /// Decides about one call.
    fn admit(&self, request: Request) -> Decision {
        let path = request.uri().path();
        // A request that is not gRPC is rejected later, by `require_grpc`.
        if path == HEALTH_CHECK || !is_grpc(&request) {
            return Decision::Admit(request, None);
        }
        let (calls, limit) = if self.streaming_methods.contains(path) {
            (&self.streaming, "MAX_STREAMING_CALLS")
        } else {
            (&self.unary, "MAX_CONCURRENT_CALLS")
        };
        let Some(permit) = calls.try_acquire(request.extensions()) else {
            self.rejected.with_label_values(&[limit]).inc();
            let message = format!("the server is at its limit of calls in flight ({limit}); try again later");
            let mut response = Status::resource_exhausted(message).into_http();
            response.headers_mut().insert(HOSTNAME, self.hostname.clone());
            return Decision::Reject(response);
        };
        let request = if self.client_streaming_methods.contains(path) {
            request
        } else {
            request.map(|body| Body::new(DeadlineBody::new(UPLOAD_TIMEOUT, body).map_err(upload_error)))
        };
        Decision::Admit(request, Some(permit))
    }
}

/// Holds the permit until the end of the response's body: a call is in flight until its trailers are sent.
fn hold_until_end(response: Response, permit: Permit) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _in_flight = &permit;
            frame
        }))
    })
}

/// Converts a timeout to DEADLINE_EXCEEDED; other errors stay.
fn upload_error(error: impl Into<axum::BoxError>) -> axum::BoxError {
    let error = error.into();
    if error.is::<tower_http::timeout::TimeoutError>() {
        let seconds = UPLOAD_TIMEOUT.as_secs();
        return Status::deadline_exceeded(format!("the request was not complete within {seconds} s")).into();
    }
    error
}
