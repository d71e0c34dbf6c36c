//! A scripted API server that records its requests.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::Instant,
};

/// The API server. Clones share their state.
#[derive(Clone, Default)]
pub(super) struct ApiServer(pub(super) Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    requests: Vec<(Instant, &'static str)>,
    lists: Behaviour,
    watches: Behaviour,
    /// The errors of the next attempts to open a session.
    pub(super) session_errors: VecDeque<&'static str>,
    /// The sender of the last watch's events.
    events: Option<UnboundedSender<Bytes>>,
}

/// The server's response to requests.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Behaviour {
    #[default]
    Normal,
    NoResponse,
    /// An error status, and `retry-after` in seconds.
    Status(u16, Option<u16>),
    /// A watch that ends at once.
    End,
}

const LIST: &str = r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[]}"#;

// === impl ApiServer ===

impl ApiServer {
    pub(super) async fn respond(
        self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let (behaviour, events) = {
            let mut state = self.0.lock().unwrap();
            state.requests.push((Instant::now(), if watch { "watch" } else { "list" }));
            let (sender, events) = mpsc::unbounded_channel();
            if watch {
                state.events = Some(sender);
            }
            (if watch { state.watches } else { state.lists }, events)
        };
        Ok(match behaviour {
            Behaviour::NoResponse => std::future::pending().await,
            Behaviour::Status(code, retry_after) => {
                let mut response = Response::builder().status(code);
                if let Some(retry_after) = retry_after {
                    response = response.header("retry-after", retry_after);
                }
                response.body(Full::from("{}").boxed_unsync()).unwrap()
            }
            Behaviour::End => Response::new(Empty::new().boxed_unsync()),
            Behaviour::Normal if !watch => Response::new(Full::from(LIST).boxed_unsync()),
            Behaviour::Normal => {
                let frames = futures_util::stream::unfold(events, async |mut events| {
                    events.recv().await.map(|line| (Ok::<_, Infallible>(Frame::data(line)), events))
                });
                Response::new(StreamBody::new(frames).boxed_unsync())
            }
        })
    }

    pub(super) fn set_lists(&self, behaviour: Behaviour) {
        self.0.lock().unwrap().lists = behaviour;
    }

    pub(super) fn set_watches(&self, behaviour: Behaviour) {
        self.0.lock().unwrap().watches = behaviour;
    }

    /// Sends bytes on the last watch.
    pub(super) fn send(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.0.lock().unwrap().events.as_ref().unwrap().send(bytes).unwrap();
    }

    /// Ends the last watch.
    pub(super) fn end_watch(&self) {
        self.0.lock().unwrap().events = None;
    }

    pub(super) fn has_open_watch(&self) -> bool {
        self.0.lock().unwrap().events.is_some()
    }

    /// Returns the time and kind (`list` or `watch`) of each request.
    pub(super) fn requests(&self) -> Vec<(Instant, &'static str)> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Returns the times between requests of a kind, in milliseconds.
    pub(super) fn pauses(&self, kind: &str) -> Vec<u128> {
        let of_kind = self.requests().into_iter().filter(|request| request.1 == kind);
        let times: Vec<_> = of_kind.map(|request| request.0).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }
}
