//! The two questions that are asked of the API server: list a service's EndpointSlices, and watch them
//! ([Kubernetes API concepts]).
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
    error::{Asked, Fault},
    model::{Event, List, Status},
    service::Service,
};

/// The label by which every EndpointSlice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// How long the server may take to begin an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// How long the server may take for a whole list.
pub(crate) const LISTING: Duration = Duration::from_secs(30);
/// After how long the server is asked to end a watch.
pub(crate) const WATCHING: Duration = Duration::from_secs(280);
/// The longest list, and the longest line of a watch, in bytes: far more than any service has.
const MAX_BYTES: usize = 64 << 20;
/// How much of a watch is read at once before it is acted upon, in bytes.
const BATCH: usize = 1 << 20;
/// The longest pause that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Asks for the slices of one service.
pub(crate) struct Api {
    client: Client,
    asked: Asked,
    /// Where the EndpointSlices of the namespace are.
    slices: Resource,
    selector: String,
}

/// A watch under way.
pub(crate) struct Events {
    body: Body,
    /// What has come, and is not a whole line yet.
    read: BytesMut,
    /// How much of it is known to have no end of line.
    searched: usize,
    /// How it ended, once it has.
    end: Option<Result<(), Fault>>,
    asked: Asked,
}

// === impl Api ===

impl Api {
    pub(crate) fn new(session: Session, service: &Service) -> Self {
        let Session { client, server } = session;
        let namespace = service.namespace.as_deref().unwrap_or(client.default_namespace()).to_owned();
        Self {
            slices: Resource::new(format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")),
            selector: format!("{SERVICE_NAME}={}", service.name),
            asked: Asked { server, namespace },
            client,
        }
    }

    /// All slices, at once and as new as they are.
    pub(crate) async fn list(&self) -> Result<List, Fault> {
        let params = ListParams::default().labels(&self.selector);
        let request = self.slices.list(&params).map_err(|error| self.asked.broken(&error))?;
        let listing = async {
            let body = send(&self.client, &self.asked, request).await?.into_body();
            let body = Limited::new(body, MAX_BYTES).collect().await;
            let body = body.map_err(|error| self.asked.broken(&*error))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| self.asked.nonsense(&error))
        };
        timeout(LISTING, listing).await.unwrap_or_else(|_| Err(self.asked.silent(LISTING)))
    }

    /// What happens after `version`. The future is its own: it may be awaited while this does other things.
    pub(crate) fn watch(&self, version: &str) -> impl Future<Output = Result<Events, Fault>> + use<> {
        let params = WatchParams::default().labels(&self.selector);
        let params = WatchParams { timeout: Some(WATCHING.as_secs() as u32), ..params };
        let request = self.slices.watch(&params, version);
        let (client, asked) = (self.client.clone(), self.asked.clone());
        async move {
            let request = request.map_err(|error| asked.broken(&error))?;
            let body = send(&client, &asked, request).await?.into_body();
            Ok(Events { body, read: BytesMut::new(), searched: 0, end: None, asked })
        }
    }

    /// What a refusal within a watch means.
    pub(crate) fn refused(&self, status: &Status) -> Fault {
        self.asked.refused(status, None)
    }

    /// What it means that a watch ends as soon as it has begun.
    pub(crate) fn restless(&self) -> Fault {
        self.asked.restless()
    }
}

async fn send(client: &Client, asked: &Asked, request: Request<Vec<u8>>) -> Result<Response<Body>, Fault> {
    let answer = async {
        let response = client.send(request.map(Body::from)).await.map_err(|error| asked.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        // The server says why in a Status; what stands before it may say anything.
        let body = Limited::new(body, BATCH).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let said: Status = serde_json::from_slice(&body).unwrap_or_default();
        let message = if said.message.is_empty() {
            head.status.canonical_reason().unwrap_or("no reason").to_owned()
        } else {
            said.message
        };
        let status = Status { code: head.status.as_u16(), message };
        Err(asked.refused(&status, retry_after(&head.headers)))
    };
    timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(asked.silent(ANSWER)))
}

/// The pause that the server asks for, in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

// === impl Events ===

impl Events {
    /// Waits until anything has come since, or the end.
    pub(crate) async fn heard(&mut self) {
        if self.end.is_none() {
            let frame = self.body.frame().await;
            self.take(frame);
        }
    }

    /// Waits for an event, and takes with it those that have come already; none is the end. Nothing is
    /// lost when it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Event>>, Fault> {
        loop {
            while self.end.is_none() && self.read.len() < BATCH {
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
                return Err(self.asked.nonsense("a line without end"));
            }
            let frame = self.body.frame().await;
            self.take(frame);
        }
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, kube::Error>>) {
        match frame {
            Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(error)) => self.end = Some(Err(self.asked.broken(&error))),
            None => self.end = Some(Ok(())),
        }
    }

    /// The events of every line that is whole.
    fn lines(&mut self) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        while let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.read.split_to(self.searched + end);
            self.read.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                events.push(serde_json::from_slice(&line).map_err(|error| self.asked.nonsense(&error))?);
            }
        }
        self.searched = self.read.len();
        Ok(events)
    }
}
