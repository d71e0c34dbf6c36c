//! The shutdown of a program in phases: readiness fails, then the servers close, then unfinished work is aborted.

use std::{io, process, time::Duration};

use tokio::{sync::watch, time};
use tracing::{info, warn};

/// The phases of a shutdown, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Closing,
    Expired,
}

/// The shutdown signal of a program, with which its parts wait for a phase. Clones share their state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
}

/// Moves a [`Shutdown`] to its next phases. Dropping it closes the program, so that a program does not outlive the code
/// that started it.
#[derive(Debug)]
pub struct Trigger {
    phase: watch::Sender<Phase>,
}

// === impl Shutdown ===

impl Shutdown {
    /// Creates a shutdown that is triggered by code, for tests and for several programs in one process.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (Trigger { phase: sender }, Self { phase: receiver })
    }

    /// Creates a shutdown that SIGTERM or SIGINT triggers (Ctrl-C on other systems than Unix). After the first signal the
    /// program drains, after `drain_delay` it closes, and `timeout` after the signal it [expires](Self::expired). A second
    /// signal ends the process at once with the usual exit code: 128 plus the number of the signal.
    ///
    /// # Errors
    ///
    /// If the system does not allow the process to receive signals.
    pub fn from_signals(drain_delay: Duration, timeout: Duration) -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (trigger, shutdown) = Self::new();
        tokio::spawn(async move {
            let signal = signals.recv().await;
            info!(%signal, "shutting down; readiness fails from now on");
            tokio::select! {
                () = trigger.wind_down(drain_delay, timeout) => {}
                signal = signals.recv() => {
                    warn!(%signal, "second signal; exiting at once");
                    process::exit(128 + signal.number());
                }
            }
        });
        Ok(shutdown)
    }

    /// Waits until readiness should fail. New requests are still accepted.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until the program should stop accepting connections and finish the requests in flight.
    pub async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Waits until the program should abort unfinished requests.
    pub async fn expired(&self) {
        self.reached(Phase::Expired).await;
    }

    /// Returns whether readiness should fail.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining || self.phase.has_changed().is_err()
    }

    async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.clone();
        if receiver.wait_for(|now| *now >= phase).await.is_err() && phase == Phase::Expired {
            // After a dropped trigger, requests in flight may take as long as they need.
            std::future::pending::<()>().await;
        }
    }
}

// === impl Trigger ===

impl Trigger {
    /// Makes readiness fail; new requests are still accepted.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Makes the servers stop accepting connections and finish the requests in flight.
    pub fn close(&self) {
        self.advance(Phase::Closing);
    }

    /// Goes through all phases and never returns.
    async fn wind_down(&self, drain_delay: Duration, timeout: Duration) {
        let deadline = time::sleep(timeout);
        self.drain();
        if !drain_delay.is_zero() {
            info!(?drain_delay, "draining: new requests are still accepted");
            time::sleep(drain_delay).await;
        }
        info!("closing: no new connections, waiting for requests in flight");
        self.close();
        deadline.await;
        self.advance(Phase::Expired);
        std::future::pending().await
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
}

/// The signals that end a program.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[derive(Clone, Copy, Debug)]
enum Signal {
    Terminate,
    Interrupt,
}

// === impl Signals ===

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn recv(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }

    #[cfg(not(unix))]
    async fn recv(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // The system delivers no signals.
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Terminate => 15,
            Self::Interrupt => 2,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Returns which of draining, closing and expired are reached.
    fn reached(shutdown: &Shutdown) -> [bool; 3] {
        let now = |future: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| future.now_or_never().is_some();
        [
            now(Box::pin(shutdown.draining())),
            now(Box::pin(shutdown.closing())),
            now(Box::pin(shutdown.expired())),
        ]
    }

    #[test]
    fn phases_go_forward_only() {
        let (trigger, shutdown) = Shutdown::new();
        assert_eq!((reached(&shutdown), shutdown.is_draining()), ([false; 3], false));
        trigger.drain();
        assert_eq!((reached(&shutdown), shutdown.is_draining()), ([true, false, false], true));
        trigger.close();
        trigger.drain();
        assert_eq!(reached(&shutdown), [true, true, false]);
    }

    #[test]
    fn dropped_trigger_closes_and_does_not_expire() {
        let (trigger, shutdown) = Shutdown::new();
        drop(trigger);
        assert_eq!((reached(&shutdown), shutdown.is_draining()), ([true, true, false], true));
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_includes_the_drain_delay() {
        let (trigger, shutdown) = Shutdown::new();
        let second = Duration::from_secs(1);
        let start = time::Instant::now();
        tokio::spawn(async move { trigger.wind_down(5 * second, 20 * second).await });
        shutdown.draining().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        shutdown.closing().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        shutdown.expired().await;
        assert_eq!(start.elapsed().as_secs(), 20);
    }
}
