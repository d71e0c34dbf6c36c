//! The API server of these tests: it answers as its script says, and records what it is asked.

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

/// The API server: what it answers next is in the script, and what is asked is noted.
#[derive(Clone, Default)]
pub(super) struct Server(pub(super) Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    asked: Vec<(Instant, &'static str)>,
    lists: Says,
    watches: Says,
    /// Why it cannot be reached at the next attempts.
    pub(super) down: VecDeque<&'static str>,
    /// The sender of the last watch's events.
    feed: Option<UnboundedSender<Bytes>>,
}

/// The server's response to requests.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Says {
    #[default]
    Well,
    Nothing,
    ApiStatus(u16, Option<u16>),
    /// Well, and ends at once.
    End,
}

const LIST: &str = r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[]}"#;

// === impl Server ===

impl Server {
    pub(super) async fn answer(
        self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let (says, feed) = {
            let mut state = self.0.lock().unwrap();
            state.asked.push((Instant::now(), if watch { "watch" } else { "list" }));
            let (feed, fed) = mpsc::unbounded_channel();
            if watch {
                state.feed = Some(feed);
            }
            (if watch { state.watches } else { state.lists }, fed)
        };
        Ok(match says {
            Says::Nothing => std::future::pending().await,
            Says::ApiStatus(code, wait) => {
                let mut response = Response::builder().status(code);
                if let Some(wait) = wait {
                    response = response.header("retry-after", wait);
                }
                response.body(Full::from("{}").boxed_unsync()).unwrap()
            }
            Says::End => Response::new(Empty::new().boxed_unsync()),
            Says::Well if !watch => Response::new(Full::from(LIST).boxed_unsync()),
            Says::Well => {
                let frames = futures_util::stream::unfold(feed, async |mut feed| {
                    feed.recv().await.map(|line| (Ok::<_, Infallible>(Frame::data(line)), feed))
                });
                Response::new(StreamBody::new(frames).boxed_unsync())
            }
        })
    }

    pub(super) fn lists(&self, says: Says) {
        self.0.lock().unwrap().lists = says;
    }

    pub(super) fn watches(&self, says: Says) {
        self.0.lock().unwrap().watches = says;
    }

    /// Sends bytes on the last watch.
    pub(super) fn say(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.0.lock().unwrap().feed.as_ref().unwrap().send(bytes).unwrap();
    }

    /// Ends the last watch.
    pub(super) fn end(&self) {
        self.0.lock().unwrap().feed = None;
    }

    pub(super) fn feed_is_gone(&self) -> bool {
        self.0.lock().unwrap().feed.is_none()
    }

    pub(super) fn asked(&self) -> Vec<(Instant, &'static str)> {
        self.0.lock().unwrap().asked.clone()
    }

    /// The pauses between questions of a kind, in milliseconds.
    pub(super) fn pauses(&self, kind: &str) -> Vec<u128> {
        let times: Vec<_> =
            self.asked().into_iter().filter(|asked| asked.1 == kind).map(|asked| asked.0).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }
}
