//! The two requests to the API server: list the EndpointSlices of a service, and watch them ([Kubernetes API
//! concepts]).
//!
//! [Kubernetes API concepts]: https://kubernetes.io/docs/reference/using-api/api-concepts/

use std::{future::Future, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, header::RETRY_AFTER};
use http_body::Frame;
use http_body_util::{BodyExt, Limited};
use kube::{
    Client,
    client::Body,
    core::{
        Request as Resource,
        params::{ListParams, WatchParams},
    },
};
use tokio::time::timeout;

use super::{
    access::Session,
    error::{ApiError, RequestContext},
    model::{ApiStatus, SliceList, WatchEvent},
    service::Service,
};

/// The label of an EndpointSlice with the name of its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The time within which a response must begin.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time within which a list must be complete.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The duration after which the server is requested to end a watch.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(280);
/// The maximum size of a list, and of a line of a watch, in bytes: far more than any service needs.
const MAX_BYTES: usize = 64 << 20;
/// The number of bytes of a watch that are read at once before their events are applied.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The longest wait that the server may request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Lists and watches the slices of one service.
pub(crate) struct Api {
    client: Client,
    context: RequestContext,
    /// The resource of the namespace's EndpointSlices.
    slices: Resource,
    selector: String,
}

/// The events of a watch.
pub(crate) struct WatchEvents {
    body: Body,
    /// The bytes that have arrived and are not a complete line yet.
    read: BytesMut,
    /// The number of those bytes that were already searched for an end of line.
    searched: usize,
    /// The result of the watch, once it has ended.
    end: Option<Result<(), ApiError>>,
    context: RequestContext,
}

// === impl Api ===

impl Api {
    pub(crate) fn new(session: Session, service: &Service) -> Self {
        let Session { client, server } = session;
        let namespace = service.namespace.as_deref().unwrap_or(client.default_namespace()).to_owned();
        Self {
            slices: Resource::new(format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")),
            selector: format!("{SERVICE_NAME}={}", service.name),
            context: RequestContext { server, namespace },
            client,
        }
    }

    /// Returns all slices in their latest version.
    pub(crate) async fn list(&self) -> Result<SliceList, ApiError> {
        let params = ListParams::default().labels(&self.selector);
        let request = self.slices.list(&params).map_err(|error| self.context.call_failed(&error))?;
        let listing = async {
            let body = send(&self.client, &self.context, request).await?.into_body();
            let body = Limited::new(body, MAX_BYTES).collect().await;
            let body = body.map_err(|error| self.context.call_failed(&*error))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| self.context.unexpected_response(&error))
        };
        timeout(LIST_TIMEOUT, listing).await.unwrap_or_else(|_| Err(self.context.timed_out(LIST_TIMEOUT)))
    }

    /// Watches the changes after `version`. The future owns its state, so it does not borrow `self`.
    pub(crate) fn watch(&self, version: &str) -> impl Future<Output = Result<WatchEvents, ApiError>> + use<> {
        let params = WatchParams::default().labels(&self.selector);
        let params = WatchParams { timeout: Some(WATCH_TIMEOUT.as_secs() as u32), ..params };
        let request = self.slices.watch(&params, version);
        let (client, context) = (self.client.clone(), self.context.clone());
        async move {
            let request = request.map_err(|error| context.call_failed(&error))?;
            let body = send(&client, &context, request).await?.into_body();
            Ok(WatchEvents { body, read: BytesMut::new(), searched: 0, end: None, context })
        }
    }

    /// Returns the error for an error event of a watch.
    pub(crate) fn rejected(&self, status: &ApiStatus) -> ApiError {
        self.context.rejected(status, None)
    }

    /// Returns the error for watches that end as soon as they have begun.
    pub(crate) fn watches_end_at_once(&self) -> ApiError {
        self.context.watches_end_at_once()
    }
}

async fn send(
    client: &Client,
    context: &RequestContext,
    request: Request<Vec<u8>>,
) -> Result<Response<Body>, ApiError> {
    let answer = async {
        let response =
            client.send(request.map(Body::from)).await.map_err(|error| context.call_failed(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        // The server describes the failure in a Status object; a proxy in front of it may send any text.
        let body = Limited::new(body, MAX_BATCH_BYTES)
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let status: ApiStatus = serde_json::from_slice(&body).unwrap_or_default();
        let message = if status.message.is_empty() {
            head.status.canonical_reason().unwrap_or("no reason").to_owned()
        } else {
            status.message
        };
        let status = ApiStatus { code: head.status.as_u16(), message };
        Err(context.rejected(&status, retry_after(&head.headers)))
    };
    timeout(RESPONSE_TIMEOUT, answer).await.unwrap_or_else(|_| Err(context.timed_out(RESPONSE_TIMEOUT)))
}

/// Returns the wait that the server requests with `retry-after`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

// === impl WatchEvents ===

impl WatchEvents {
    /// Waits until more data has arrived, or the watch has ended.
    pub(crate) async fn wait_for_data(&mut self) {
        if self.end.is_none() {
            let frame = self.body.frame().await;
            self.take(frame);
        }
    }

    /// Waits for an event, and returns it with all others that have arrived; `None` at the end. Cancel-safe: dropping
    /// the future loses no event.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<WatchEvent>>, ApiError> {
        loop {
            while self.end.is_none() && self.read.len() < MAX_BATCH_BYTES {
                let Some(frame) = self.body.frame().now_or_never() else { break };
                self.take(frame);
            }
            let events = self.lines()?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if let Some(end) = self.end.take() {
                return end.map(|()| None);
            }
            if self.read.len() > MAX_BYTES {
                return Err(self.context.unexpected_response("a line without end"));
            }
            let frame = self.body.frame().await;
            self.take(frame);
        }
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, kube::Error>>) {
        match frame {
            Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(error)) => self.end = Some(Err(self.context.call_failed(&error))),
            None => self.end = Some(Ok(())),
        }
    }

    /// Parses the events of all complete lines.
    fn lines(&mut self) -> Result<Vec<WatchEvent>, ApiError> {
        let mut events = Vec::new();
        while let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.read.split_to(self.searched + end);
            self.read.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                events.push(
                    serde_json::from_slice(&line)
                        .map_err(|error| self.context.unexpected_response(&error))?,
                );
            }
        }
        self.searched = self.read.len();
        Ok(events)
    }
}
