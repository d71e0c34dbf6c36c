//! The task of a connection: drives h2, applies the peer's limits and the keepalive, and publishes the state of the
//! connection.

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
    keepalive::pinger::Pinger,
    shared::{ConnectionLost, DrainReason, PeerState, Shared},
    sniffer::SniffedIo,
};
use crate::metrics::Disconnect;

/// Watches a connection whose peer speaks HTTP/2. Dropping the monitor does not close the connection.
#[derive(Debug)]
pub(crate) struct ConnectionMonitor {
    peer: watch::Receiver<PeerState>,
    /// True if the last event was [`ConnectionEvent::Silent`].
    silent: bool,
}

/// The events of a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// The peer does not answer PINGs, so calls should go elsewhere.
    Silent,
    /// The peer has sent bytes again.
    Responsive,
    /// The connection takes no new calls; those in flight go on.
    Draining {
        reason: DrainReason,
        /// True if the peer has begun to answer a call on this connection.
        answered: bool,
    },
    /// The connection has ended.
    Lost(ConnectionLost),
}

/// The task of a connection. It waits for the socket, for calls and for the keepalive timer. It ends when the
/// connection is lost, or when all clients are dropped and the last call has ended.
pub(super) struct Driver<I> {
    h2: client::Connection<SniffedIo<I>, Bytes>,
    pinger: Option<Pinger>,
    shared: Arc<Shared>,
}

// === impl ConnectionMonitor ===

impl ConnectionMonitor {
    pub(super) fn new(peer: watch::Receiver<PeerState>) -> Self {
        Self { peer, silent: false }
    }

    /// Waits for the next event. Must not be called again once the connection is
    /// draining or lost.
    pub(crate) async fn next(&mut self) -> ConnectionEvent {
        let silent = self.silent;
        let news = |peer: &PeerState| peer.draining.is_some() || peer.lost.is_some() || peer.silent != silent;
        let Ok(peer) = self.peer.wait_for(news).await else {
            let why = "its task has ended".to_owned();
            return ConnectionEvent::Lost(ConnectionLost { why, disconnect: Disconnect::Unknown });
        };
        self.silent = peer.silent;
        match &*peer {
            PeerState { draining: Some(reason), answered, .. } => {
                ConnectionEvent::Draining { reason: *reason, answered: *answered }
            }
            PeerState { lost: Some(lost), .. } => ConnectionEvent::Lost(lost.clone()),
            PeerState { silent: true, .. } => ConnectionEvent::Silent,
            PeerState { silent: false, .. } => ConnectionEvent::Responsive,
        }
    }
}

// === impl Driver ===

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    pub(super) fn new(
        h2: client::Connection<SniffedIo<I>, Bytes>,
        pinger: Option<Pinger>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { h2, pinger, shared }
    }

    /// Applies the frames that the peer has sent: GOAWAY and SETTINGS.
    fn apply_observed(&self) {
        let observed = &self.shared.observed;
        if let Some(goaway) = observed.goaway.get()
            && !self.shared.quota.is_closed()
        {
            self.shared.drain(DrainReason::GoAway(*goaway));
        }
        if observed.settings.load(Ordering::Relaxed) {
            // h2 has the new limit once it has read all of the SETTINGS.
            self.shared.quota.set_limit(self.h2.max_concurrent_send_streams());
            self.shared.peer.send_if_modified(|peer| !mem::replace(&mut peer.open, true));
        }
    }
}

impl<I> Drop for Driver<I> {
    /// Marks the connection as unusable. A runtime that shuts down drops this task before the connection has ended;
    /// pickers would otherwise still pick the connection, and every call on it would fail.
    fn drop(&mut self) {
        self.shared.quota.close();
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Future for Driver<I> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let polled = Pin::new(&mut this.h2).poll(cx);
            this.apply_observed();
            if let Poll::Ready(ended) = polled {
                this.shared.quota.close();
                this.shared.peer.send_modify(|peer| peer.lost = Some(ConnectionLost::new(ended)));
                return Poll::Ready(());
            }
            let Some(pinger) = &mut this.pinger else { return Poll::Pending };
            match pinger.poll(&this.shared, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => this.shared.observed.keepalive_timed_out.store(true, Ordering::Relaxed),
            }
        }
    }
}
