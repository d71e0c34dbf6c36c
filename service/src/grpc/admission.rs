//! Bounds the calls in flight and the time that an upload may take.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt as _;
use prometheus::{IntCounterVec, Opts};
use tokio::sync::Semaphore;
use tonic::Status;
use tower_http::timeout::DeadlineBody;

use super::{ServerConfig, descriptors::Method};
use crate::Metrics;

/// Health checks are always admitted.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// The time from the head of a call to the end of its request, unless the client streams.
const UPLOAD: Duration = Duration::from_secs(10);

/// Counts the calls in flight against the limits. Clones share the limits.
#[derive(Clone)]
pub(super) struct Admission {
    unary: Arc<Semaphore>,
    streaming: Arc<Semaphore>,
    streaming_methods: Arc<HashSet<String>>,
    client_streaming_methods: Arc<HashSet<String>>,
    rejected: IntCounterVec,
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(config: &ServerConfig, methods: &[Method], metrics: &Metrics) -> Self {
        let options = Opts::new(
            "grpc_server_rejected_total",
            "Calls answered RESOURCE_EXHAUSTED because as many as the limit were in flight.",
        );
        let rejected = IntCounterVec::new(options, &["limit"]).expect("the name and label are valid");
        metrics.register(rejected.clone());
        let paths = |matches: fn(&Method) -> bool| {
            Arc::new(
                methods.iter().filter(|method| matches(method)).map(|method| method.path.clone()).collect(),
            )
        };
        let semaphore = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self {
            unary: semaphore(config.max_concurrent_calls.get()),
            streaming: semaphore(config.max_streaming_calls.get()),
            streaming_methods: paths(|method| method.client_streaming || method.server_streaming),
            client_streaming_methods: paths(|method| method.client_streaming),
            rejected,
        }
    }
}

/// Admits one call until the end of its response, or rejects it.
pub(super) async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == HEALTH_CHECK {
        return next.run(request).await;
    }
    let (slots, limit) = if admission.streaming_methods.contains(path) {
        (&admission.streaming, "MAX_STREAMING_CALLS")
    } else {
        (&admission.unary, "MAX_CONCURRENT_CALLS")
    };
    let Ok(permit) = Arc::clone(slots).try_acquire_owned() else {
        admission.rejected.with_label_values(&[limit]).inc();
        let message = format!("as many calls are in flight as the server accepts ({limit}); try again later");
        return Status::resource_exhausted(message).into_http();
    };
    let request = if admission.client_streaming_methods.contains(path) {
        request
    } else {
        request.map(|body| Body::new(DeadlineBody::new(UPLOAD, body).map_err(too_slow)))
    };
    // The call ends with the body of its response, not with its head.
    next.run(request).await.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _in_flight = &permit;
            frame
        }))
    })
}

fn too_slow(error: impl Into<axum::BoxError>) -> axum::BoxError {
    let error = error.into();
    if error.is::<tower_http::timeout::TimeoutError>() {
        let seconds = UPLOAD.as_secs();
        return Status::deadline_exceeded(format!("the request was not complete within {seconds} s")).into();
    }
    error
}
