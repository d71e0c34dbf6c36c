//! The byte stream under a connection: watches its frames, and pings a peer that is silent.
//!
//! hyper says that a connection is ready before the peer has said a word, notices a GOAWAY only when
//! the next call is refused, and pings without regard to what servers allow. All three can be had
//! right from the frames as they pass. A ping is written between two frames of hyper's, and its
//! answer is kept from hyper, which would wonder at it.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    frames::{Found, Frames, GoAway, HEADER, Header, TYPE_AT, kind},
    keepalive::{Due, Keepalive, Watchdog},
};

/// A PING frame (RFC 9113, section 6.7), with a payload that says whose it is.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0balanced";

/// What a peer has said of the connection, or failed to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// It has sent its SETTINGS: it speaks HTTP/2.
    pub(crate) open: bool,
    /// It takes no new calls.
    pub(crate) goaway: Option<GoAway>,
    /// It has left a ping unanswered.
    pub(crate) silent: bool,
}

/// A byte stream that reports on its peer.
#[derive(Debug)]
pub(crate) struct Wire<I> {
    io: I,
    read: Frames,
    written: Frames,
    peer: watch::Sender<Peer>,
    keepalive: Option<Watch>,
}

/// The keepalive of one connection.
#[derive(Debug)]
struct Watch {
    dog: Watchdog,
    /// Wakes at the time that was due next when it was set, or earlier.
    alarm: Pin<Box<Sleep>>,
    /// Whom the alarm wakes; setting it again for each frame would cost more than the frame.
    woken: Option<Waker>,
    /// What is still to be written of a ping.
    ping: &'static [u8],
    /// A header that is held back until it is known whether it is a ping's answer.
    held: Held,
}

/// A frame's header on its way through.
#[derive(Debug, Default)]
struct Held {
    header: [u8; HEADER],
    /// How much of it has been read.
    have: usize,
    /// How much of it has been handed on.
    given: usize,
}

// === impl Wire ===

impl<I> Wire<I> {
    pub(crate) fn new(io: I, keepalive: Option<Keepalive>) -> (Self, watch::Receiver<Peer>) {
        let (peer, receiver) = watch::channel(Peer::default());
        let keepalive = keepalive.map(|config| Watch {
            dog: Watchdog::new(config),
            alarm: Box::pin(sleep_until(Instant::now())),
            woken: None,
            ping: &[],
            held: Held::default(),
        });
        let wire = Self { io, read: Frames::default(), written: Frames::after_preface(), peer, keepalive };
        (wire, receiver)
    }

    /// Takes note of bytes that were read.
    fn note_read(&mut self, bytes: &[u8]) {
        let Self { read, peer, keepalive, .. } = self;
        let mut dog = keepalive.as_mut().map(|watch| &mut watch.dog);
        if !bytes.is_empty()
            && let Some(dog) = &mut dog
            && dog.read()
        {
            peer.send_modify(|peer| peer.silent = false);
        }
        read.feed(bytes, |found| match found {
            Found::Header(header) => {
                if let Some(dog) = &mut dog {
                    dog.received(header);
                }
                if header.kind == kind::SETTINGS {
                    peer.send_if_modified(|peer| !std::mem::replace(&mut peer.open, true));
                }
            }
            Found::GoAway(goaway) => peer.send_modify(|peer| peer.goaway = Some(goaway)),
        });
    }

    /// Takes note of bytes that were written.
    fn note_written(&mut self, bytes: &[u8]) {
        if let Some(watch) = &mut self.keepalive {
            self.written.feed(bytes, |found| {
                if let Found::Header(header) = found {
                    watch.dog.sent(header);
                }
            });
        }
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    /// Does what the keepalive wants by now, and has the task woken for what it will want next.
    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(watch) = &mut self.keepalive {
            let Some((at, due)) = watch.dog.due() else { break };
            if at > Instant::now() {
                // Set only when it would ring too late: each answer puts off what is due.
                if watch.alarm.is_elapsed() || at < watch.alarm.deadline() {
                    watch.alarm.as_mut().reset(at);
                    watch.woken = None;
                }
                if watch.woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker())) {
                    break;
                }
                if watch.alarm.as_mut().poll(cx).is_pending() {
                    watch.woken = Some(cx.waker().clone());
                    break;
                }
                continue;
            }
            match due {
                Due::Ping => {
                    watch.dog.pinged();
                    watch.ping = PING;
                }
                Due::Avoid => {
                    watch.dog.avoided();
                    self.peer.send_modify(|peer| peer.silent = true);
                }
                Due::GiveUp => {
                    let why = "the peer does not answer a keepalive ping";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        }
        if self.keepalive.as_ref().is_some_and(|watch| !watch.ping.is_empty())
            && let Poll::Ready(written) = self.poll_ping(cx)
        {
            written?;
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes what is to be written of a ping, if that may be now.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(watch) = &mut self.keepalive else { return Poll::Ready(Ok(())) };
        while !watch.ping.is_empty() && self.written.between() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, watch.ping))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            watch.ping = &watch.ping[written..];
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> Wire<I> {
    fn poll_read_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.note_read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }

    /// Reads at most one frame, and its header apart, so that the answer to a ping can be passed off
    /// as a frame that nobody knows.
    fn poll_read_frame(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while let Some(watch) = &mut self.keepalive {
            let held = &mut watch.held;
            if held.is_whole() {
                held.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            // The rest of a header that began before the ping went out is not its answer's.
            let hold = held.have > 0 || self.read.between();
            let room = if hold { self.read.left() } else { self.read.left().min(buf.remaining()) };
            let mut piece = ReadBuf::new(&mut scratch[..room.min(4096)]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece))?;
            let piece = piece.filled();
            if hold && !piece.is_empty() {
                held.take(piece);
                self.note_read(piece);
                continue;
            }
            if piece.is_empty() {
                held.give_up(buf);
            }
            self.note_read(piece);
            buf.put_slice(piece);
            break;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let by_frame =
            this.keepalive.as_ref().is_some_and(|watch| watch.dog.expects_pong() || watch.held.have > 0);
        let polled = if by_frame { this.poll_read_frame(cx, buf) } else { this.poll_read_plain(cx, buf) };
        // Only when there is nothing to read is the peer silent, however late this task is.
        if polled.is_pending() {
            this.poll_keepalive(cx)?;
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ping(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.note_written(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ping(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let step = left.min(buf.len());
            this.note_written(&buf[..step]);
            left -= step;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ping(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // A call that has just been written is one to be answered.
        this.poll_keepalive(cx)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

// === impl Held ===

impl Held {
    fn is_whole(&self) -> bool {
        self.have == HEADER
    }

    fn take(&mut self, piece: &[u8]) {
        self.header[self.have..self.have + piece.len()].copy_from_slice(piece);
        self.have += piece.len();
        if self.is_whole() && Header::read(&self.header).is_pong() {
            self.header[TYPE_AT] = kind::UNKNOWN;
        }
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let step = (self.have - self.given).min(buf.remaining());
        buf.put_slice(&self.header[self.given..self.given + step]);
        self.given += step;
        if self.given == self.have {
            *self = Self::default();
        }
    }

    /// The stream ends here: what there is of a header is nobody's answer.
    fn give_up(&mut self, buf: &mut ReadBuf<'_>) {
        if self.have > 0 {
            self.hand_on(buf);
        }
    }
}

#[cfg(test)]
mod tests;
