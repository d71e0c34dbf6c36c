//! Decides when a new gateway is ready.
//!
//! The gateway must have connected once to the default gRPC route and to the HTTP backend. A rollout with a wrong target
//! therefore stops at its first pod, and a pod whose network is not set up yet gets no requests. Other routes have a short
//! time to connect. Once ready, the gateway stays ready, even if all backends disappear.

use std::time::Duration;

use balanced_channel::{Channel, Connectivity};
use futures_util::future::{self, join_all};
use service::Readiness;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::route_config::DEFAULT;

/// The time that routes other than the default one have to connect. The kernel resends a lost SYN after 1 s and after 3 s,
/// so this covers two lost packets.
const OTHER_ROUTES_TIMEOUT: Duration = Duration::from_millis(3500);

/// The time within which a failure is definite, e.g. a refused connection. Later failures may be due to a network that is
/// not set up yet.
const DEFINITE_FAILURE_TIME: Duration = Duration::from_millis(500);

/// Waits until the gateway is ready, at most `startup_timeout`, and reports the state to `ready`.
pub(crate) async fn become_ready(
    routes: impl IntoIterator<Item = (&str, &Channel)>,
    http_reached: impl Future<Output = ()>,
    startup_timeout: Duration,
    ready: &watch::Sender<Readiness>,
) {
    let started = Instant::now();
    let (default, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|(name, _)| *name == DEFAULT);
    let required = async {
        let grpc = async {
            join_all(default.iter().map(|(name, channel)| reached(name, channel))).await;
            report(ready, "the HTTP backend has not been reached yet");
        };
        let http = async {
            http_reached.await;
            report(ready, "the gRPC backend of the default route has not been reached yet");
        };
        report(
            ready,
            "neither the gRPC backend of the default route nor the HTTP backend has been reached yet",
        );
        future::join(grpc, http).await;
    };
    let optional = timeout_at(
        started + OTHER_ROUTES_TIMEOUT,
        join_all(others.iter().map(|(_, channel)| settled(channel, started))),
    );
    let both = async {
        required.await;
        report(ready, "other gRPC routes have not been reached yet");
    };
    if timeout(startup_timeout, future::join(both, optional)).await.is_err() {
        tracing::warn!(
            ?startup_timeout,
            "startup timeout is over; the gateway is ready without having reached its backends"
        );
    }
    drop(ready.send_replace(Ok(())));
}

fn report(ready: &watch::Sender<Readiness>, reason: &str) {
    drop(ready.send_replace(Err(reason.to_owned())));
}

/// Waits until the channel has a connection. Logs a warning if that takes longer than [`OTHER_ROUTES_TIMEOUT`].
async fn reached(route: &str, channel: &Channel) {
    let mut state = channel.state();
    let mut reported = false;
    while state != Connectivity::Ready {
        let changed = timeout(OTHER_ROUTES_TIMEOUT, channel.state_changed(state)).await;
        if changed.is_err() && !std::mem::replace(&mut reported, true) {
            let snapshot = channel.snapshot();
            let connection_error =
                snapshot.subchannels.into_iter().find_map(|subchannel| subchannel.last_error);
            let error = snapshot.resolver.error.or(connection_error);
            tracing::warn!(route, target = snapshot.target, error, "gRPC backend is not reachable yet");
        }
        state = changed.unwrap_or_else(|_| channel.state());
    }
}

/// Waits until the channel has a connection or a definite failure.
async fn settled(channel: &Channel, started: Instant) {
    let mut state = channel.state();
    loop {
        let definite = state == Connectivity::TransientFailure
            && (started.elapsed() < DEFINITE_FAILURE_TIME
                || channel.snapshot().resolver.endpoints == Some(0));
        if state == Connectivity::Ready || definite {
            return;
        }
        state = channel.state_changed(state).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::{Ipv4Addr, SocketAddr},
    };

    use balanced_channel::{Connector, Endpoint, ResolveError, Resolver, Updates};
    use tokio::{
        io::{AsyncWriteExt as _, DuplexStream, copy, duplex, sink},
        time::sleep,
    };

    use super::*;

    /// The outcome of connecting a route, after a number of milliseconds.
    #[derive(Clone, Copy)]
    enum Outcome {
        Connection(u64),
        Refusal(u64),
        NoEndpoint(u64),
        NoAnswer(u64),
        Nothing,
    }

    impl Resolver for Outcome {
        fn run(
            self: Box<Self>,
            updates: Updates,
        ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
            Box::pin(async move {
                match *self {
                    Self::NoEndpoint(after) => {
                        sleep(Duration::from_millis(after)).await;
                        updates.publish([]);
                    }
                    Self::NoAnswer(after) => {
                        sleep(Duration::from_millis(after)).await;
                        updates.fail(ResolveError::new("no answer"));
                    }
                    _ => updates.publish([SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()]),
                }
                updates.closed().await;
            })
        }
    }

    impl Connector for Outcome {
        type Io = DuplexStream;

        async fn connect(&self, _: &Endpoint) -> io::Result<DuplexStream> {
            match *self {
                Self::Connection(after) => sleep(Duration::from_millis(after)).await,
                Self::Refusal(after) => {
                    sleep(Duration::from_millis(after)).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                _ => std::future::pending().await,
            }
            let (ours, theirs) = duplex(4096);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(theirs);
                // An empty SETTINGS frame, the server's connection preface.
                write.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                copy(&mut read, &mut sink()).await
            });
            Ok(ours)
        }
    }

    const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

    /// Returns the time until the gateway is ready in milliseconds, and the last reason before. The first route is the
    /// default one; the HTTP backend is reached after `http` milliseconds.
    async fn ready_after(routes: &[Outcome], http: u64) -> (u128, String) {
        let channel = |outcome: &Outcome| {
            Channel::builder("dns:///svc:80").resolver(*outcome).connector(*outcome).build().unwrap()
        };
        let channels: Vec<_> = [DEFAULT, "other"].into_iter().zip(routes.iter().map(channel)).collect();
        let (sender, mut ready) = watch::channel(Err(String::new()));
        let started = Instant::now();
        let mut last = String::new();
        let routes = channels.iter().map(|(name, channel)| (*name, channel));
        let http = sleep(Duration::from_millis(http));
        tokio::join!(become_ready(routes, http, STARTUP_TIMEOUT, &sender), async {
            while let Err(reason) = {
                ready.changed().await.unwrap();
                ready.borrow_and_update().clone()
            } {
                last = reason;
            }
        });
        (started.elapsed().as_millis(), last)
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_required_backends_are_reached_and_other_routes_have_settled() {
        use Outcome::{Connection, NoAnswer, NoEndpoint, Nothing, Refusal};
        for (routes, http, expected) in [
            (&[Connection(0)][..], 0, 0),
            (&[Connection(1203)], 0, 1203),
            (&[Connection(0)], 2500, 2500),
            // The default route must be reached, however definite the failure.
            (&[Refusal(3)], 0, 60_000),
            (&[NoEndpoint(20)], 0, 60_000),
            (&[NoAnswer(20)], 0, 60_000),
            (&[Nothing], 0, 60_000),
            (&[Connection(0)], 90_000, 60_000),
            // Other routes may settle with a definite failure.
            (&[Connection(0), Refusal(3)], 0, 3),
            // A late failure is not definite.
            (&[Connection(0), Refusal(900)], 0, 3500),
            (&[Connection(0), NoEndpoint(1800)], 0, 1800),
            (&[Connection(0), NoAnswer(20)], 0, 20),
            (&[Connection(0), NoAnswer(1000)], 0, 3500),
            (&[Connection(0), Nothing], 0, 3500),
            (&[Connection(700), Refusal(2)], 0, 700),
            (&[Connection(2), Connection(3100)], 0, 3100),
        ] {
            let (elapsed, _) = ready_after(routes, http).await;
            // Timers have a resolution of a millisecond.
            assert!((expected..expected + 3).contains(&elapsed), "{elapsed} ms instead of {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reason_names_the_backend_that_is_not_reached() {
        let (_, reason) = ready_after(&[Outcome::Connection(10)], 90_000).await;
        assert!(reason.contains("the HTTP backend has not"), "{reason}");
        let (_, reason) = ready_after(&[Outcome::Nothing], 10).await;
        assert!(reason.contains("the gRPC backend of the default route has not"), "{reason}");
    }
}
