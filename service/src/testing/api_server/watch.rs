//! Sends the events of a watch: one JSON object per line, each in its own chunk.

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

/// An action that a test applies to every open watch.
#[derive(Clone, Copy, Debug)]
pub enum WatchAction {
    /// Send a bookmark.
    Bookmark,
    /// Send the error that the resource version is too old, and end.
    Gone,
    /// Send an error with this status code, and end.
    Error(u16),
    /// End the response normally.
    End,
    /// Break the connection in the middle of a line.
    Cut,
    /// Send these bytes.
    Send(&'static str),
}

/// An open watch.
pub(super) struct Watch {
    shared: Arc<Shared>,
    collection: String,
    selector: Selector,
    /// The version up to which changes were sent.
    version: u64,
    bookmarks: bool,
    ends: Instant,
    changes: latest::Receiver<u64>,
    actions: broadcast::Receiver<WatchAction>,
    /// The queue of pieces to be sent.
    pieces: VecDeque<io::Result<Bytes>>,
    ended: bool,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(
        shared: Arc<Shared>,
        collection: String,
        selector: Selector,
        version: u64,
        bookmarks: bool,
        timeout: Duration,
    ) -> Self {
        let (changes, actions) = (shared.changes.subscribe(), shared.watch_actions.subscribe());
        shared.change(|state| state.watches += 1);
        let ends = Instant::now() + timeout;
        let pieces = VecDeque::new();
        Self {
            shared,
            collection,
            selector,
            version,
            bookmarks,
            ends,
            changes,
            actions,
            pieces,
            ended: false,
        }
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
                if self.ended {
                    return None;
                }
                if self.queue_changes(&behaviour) {
                    continue;
                }
            }
            select! {
                _ = self.changes.changed() => {}
                Ok(action) = self.actions.recv() => self.apply(action),
                () = sleep_until(self.ends) => self.ended = true,
            }
        }
    }

    /// Queues the events of new changes. Returns whether there were any.
    fn queue_changes(&mut self, behaviour: &Behaviour) -> bool {
        let state = self.shared.state();
        let changes = state.objects.since(self.version, &self.collection, &self.selector);
        self.version = self.version.max(state.objects.version);
        drop(state);
        let Some(changes) = changes else {
            self.apply(WatchAction::Gone);
            return true;
        };
        for Change { kind, object, .. } in &changes {
            let line = line(kind, object);
            if matches!(behaviour, Behaviour::Slow(_)) {
                let (first, second) = line.split_at(line.len() / 2);
                self.pieces.extend([first, second].map(|piece| Ok(piece.to_owned().into())));
            } else {
                self.pieces.push_back(Ok(line.into()));
            }
        }
        !changes.is_empty()
    }

    fn apply(&mut self, action: WatchAction) {
        match action {
            WatchAction::Bookmark if !self.bookmarks => {}
            WatchAction::Bookmark => {
                let bookmark = json!({
                    "kind": "EndpointSlice",
                    "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
                    "addressType": "", "endpoints": null, "ports": null
                });
                self.pieces.push_back(Ok(line("BOOKMARK", &bookmark).into()));
            }
            WatchAction::Gone => {
                let message = format!("too old resource version: {} (100000)", self.version);
                self.pieces.push_back(Ok(line("ERROR", &status(410, "Expired", &message)).into()));
                self.ended = true;
            }
            WatchAction::Error(code) => {
                let error = status(code, "InternalError", "etcdserver: leader changed");
                self.pieces.push_back(Ok(line("ERROR", &error).into()));
                self.ended = true;
            }
            WatchAction::End => self.ended = true,
            WatchAction::Cut => {
                self.pieces.push_back(Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"ki")));
                self.pieces.push_back(Err(io::ErrorKind::BrokenPipe.into()));
            }
            WatchAction::Send(text) => self.pieces.push_back(Ok(Bytes::from_static(text.as_bytes()))),
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
