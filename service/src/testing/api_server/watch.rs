//! A watch as an API server sends it: one JSON object a line, each in a chunk of its own.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use axum::body::Bytes;
use futures_util::{Stream, stream::unfold};
use serde_json::{Value, json};
use tokio::{
    select,
    sync::{broadcast, watch as latest},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Shared,
    behaviour::Behaviour,
    objects::{Change, Selector, status},
};

/// An order of a test to every watch.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Say that nothing else has changed.
    Bookmark,
    /// Say that the version is forgotten, and end.
    Gone,
    /// Refuse to go on with this status, and end.
    Error(u16),
    /// End in order.
    End,
    /// Break off, in the middle of a line.
    Cut,
    /// Say this, whatever it is.
    Say(&'static str),
}

/// One watch.
pub(super) struct Watch {
    shared: Arc<Shared>,
    collection: String,
    selector: Selector,
    /// The position in the history up to which events were sent.
    version: u64,
    bookmarks: bool,
    ends: Instant,
    changes: latest::Receiver<u64>,
    orders: broadcast::Receiver<Order>,
    /// The pieces that are still to be sent.
    pieces: VecDeque<io::Result<Bytes>>,
    over: bool,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(
        shared: Arc<Shared>,
        collection: String,
        selector: Selector,
        version: u64,
        bookmarks: bool,
        lasts: Duration,
    ) -> Self {
        let (changes, orders) = (shared.changes.subscribe(), shared.orders.subscribe());
        shared.change(|state| state.watches += 1);
        let ends = Instant::now() + lasts;
        let pieces = VecDeque::new();
        Self { shared, collection, selector, version, bookmarks, ends, changes, orders, pieces, over: false }
    }

    pub(super) fn lines(self) -> impl Stream<Item = io::Result<Bytes>> {
        unfold(self, async |mut watch| watch.next().await.map(|piece| (piece, watch)))
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            self.changes.mark_unchanged();
            let behaviour = self.shared.state().behaviour.clone();
            if behaviour != Behaviour::Silent {
                if let Some(piece) = self.pieces.pop_front() {
                    if let Behaviour::Slow(pause) = behaviour {
                        sleep(pause).await;
                    }
                    return Some(piece);
                }
                if self.over {
                    return None;
                }
                if self.tell(&behaviour) {
                    continue;
                }
            }
            select! {
                _ = self.changes.changed() => {}
                Ok(order) = self.orders.recv() => self.obey(order),
                () = sleep_until(self.ends) => self.over = true,
            }
        }
    }

    /// Tells what has changed; says whether anything has.
    fn tell(&mut self, behaviour: &Behaviour) -> bool {
        let state = self.shared.state();
        let changes = state.objects.since(self.version, &self.collection, &self.selector);
        self.version = self.version.max(state.objects.version);
        drop(state);
        let Some(changes) = changes else {
            self.obey(Order::Gone);
            return true;
        };
        for Change { kind, object, .. } in &changes {
            let line = line(kind, object);
            if matches!(behaviour, Behaviour::Slow(_)) {
                let (one, two) = line.split_at(line.len() / 2);
                self.pieces.extend([one, two].map(|piece| Ok(piece.to_owned().into())));
            } else {
                self.pieces.push_back(Ok(line.into()));
            }
        }
        !changes.is_empty()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Bookmark if !self.bookmarks => {}
            Order::Bookmark => {
                let bookmark = json!({
                    "kind": "EndpointSlice",
                    "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
                    "addressType": "", "endpoints": null, "ports": null
                });
                self.pieces.push_back(Ok(line("BOOKMARK", &bookmark).into()));
            }
            Order::Gone => {
                let message = format!("too old resource version: {} (100000)", self.version);
                self.pieces.push_back(Ok(line("ERROR", &status(410, "Expired", &message)).into()));
                self.over = true;
            }
            Order::Error(code) => {
                let error = status(code, "InternalError", "etcdserver: leader changed");
                self.pieces.push_back(Ok(line("ERROR", &error).into()));
                self.over = true;
            }
            Order::End => self.over = true,
            Order::Cut => {
                self.pieces.push_back(Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"ki")));
                self.pieces.push_back(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Order::Say(text) => self.pieces.push_back(Ok(Bytes::from_static(text.as_bytes()))),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.change(|state| state.watches -= 1);
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}
