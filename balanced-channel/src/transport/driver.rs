//! The task of one connection: drives h2, keeps the peer's limits and the keepalive, and tells what
//! becomes of the connection.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::client;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use super::{
    keepalive::pinger::{Beat, Heartbeat},
    shared::{Leaving, Link, Lost, Peer},
    sniffer::Wire,
};
use crate::metrics::Disconnect;

/// A connection whose peer speaks HTTP/2, to be watched. It goes on without being watched, until it
/// takes no more calls and the last one has ended.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: watch::Receiver<Peer>,
    /// Whether the peer is silent, as was last said.
    silent: bool,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// The peer answers no ping; calls had better go elsewhere.
    Silent,
    /// The peer has spoken again.
    Heard,
    /// There will be no new calls; those in flight go on.
    Draining(Leaving),
    /// It is gone.
    Lost(Lost),
}

/// The task. It waits for the socket, for calls, and for what the keepalive wants. It ends with the
/// connection: when that is lost, or when nobody can send calls any more and the last one has ended.
pub(super) struct Driver<I> {
    h2: client::Connection<Wire<I>, Bytes>,
    heartbeat: Option<Heartbeat>,
    link: Arc<Link>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(peer: watch::Receiver<Peer>) -> Self {
        Self { peer, silent: false }
    }

    /// Waits until something is to be said about the connection. Not to be asked again once it is
    /// draining or lost.
    pub(crate) async fn next(&mut self) -> Change {
        let silent = self.silent;
        let news = |peer: &Peer| peer.leaving.is_some() || peer.lost.is_some() || peer.silent != silent;
        let Ok(peer) = self.peer.wait_for(news).await else {
            let why = "its task has ended".to_owned();
            return Change::Lost(Lost { why, disconnect: Disconnect::Unknown });
        };
        self.silent = peer.silent;
        match &*peer {
            Peer { leaving: Some(why), .. } => Change::Draining(*why),
            Peer { lost: Some(lost), .. } => Change::Lost(lost.clone()),
            Peer { silent: true, .. } => Change::Silent,
            Peer { silent: false, .. } => Change::Heard,
        }
    }
}

// === impl Driver ===

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    pub(super) fn new(
        h2: client::Connection<Wire<I>, Bytes>,
        heartbeat: Option<Heartbeat>,
        link: Arc<Link>,
    ) -> Self {
        Self { h2, heartbeat, link }
    }

    /// Tells what the peer has said.
    fn listen(&self) {
        let passed = &self.link.passed;
        if let Some(goaway) = passed.goaway.get()
            && !self.link.slots.is_closed()
        {
            self.link.leave(Leaving::GoAway(*goaway));
        }
        if passed.settings.load(Ordering::Relaxed) {
            // h2 knows what they mean once it has read them all.
            self.link.slots.allow(self.h2.max_concurrent_send_streams());
            self.link.peer.send_if_modified(|peer| !mem::replace(&mut peer.open, true));
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Future for Driver<I> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let polled = Pin::new(&mut this.h2).poll(cx);
            this.listen();
            if let Poll::Ready(ended) = polled {
                this.link.slots.close();
                this.link.peer.send_modify(|peer| peer.lost = Some(Lost::new(ended)));
                return Poll::Ready(());
            }
            let Some(heartbeat) = &mut this.heartbeat else { return Poll::Pending };
            match heartbeat.poll(&this.link, cx) {
                Beat::Wait => return Poll::Pending,
                Beat::GiveUp => this.link.passed.given_up.store(true, Ordering::Relaxed),
            }
        }
    }
}
