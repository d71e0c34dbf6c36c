//! When a new gateway is ready: once every route has reached a backend, or was told that there is none.
//!
//! A cluster's network may learn late of a new pod, and drop its packets until then: that is how network policies
//! spread over the nodes. A gateway that is ready at once would meet its first requests with nothing to send them to.
//! It is decided once: backends that go away later are no reason to take the gateway away too.

use std::time::Duration;

use balanced_channel::{Channel, Connectivity};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use service::Ready;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Ready after this time in any case: it says better than none that its backends are gone. The kernel sends the first
/// packet of a connection again after 1 s and after 3 s.
const PATIENCE: Duration = Duration::from_millis(3500);
/// A failure that comes sooner is an answer: refused, forbidden, no such name. Lost packets take longer to be missed.
const PROMPT: Duration = Duration::from_millis(500);

/// Says to `ready` which routes are waited for, and at last that the gateway is ready.
pub(crate) async fn settle(routes: impl IntoIterator<Item = (&str, &Channel)>, ready: &watch::Sender<Ready>) {
    let began = Instant::now();
    let settling = |(name, channel)| async move {
        settled(channel, began).await;
        name
    };
    let routes: Vec<_> = routes.into_iter().collect();
    let mut waiting: Vec<_> = routes.iter().map(|(name, _)| *name).collect();
    let mut settled: FuturesUnordered<_> = routes.into_iter().map(settling).collect();
    let tell = |waiting: &[&str]| drop(ready.send_replace(said(waiting)));
    tell(&waiting);
    while let Ok(Some(settled)) = timeout_at(began + PATIENCE, settled.next()).await {
        waiting.retain(|name| *name != settled);
        tell(&waiting);
    }
    if !waiting.is_empty() {
        let routes = waiting.join(", ");
        tracing::warn!(routes, "ready, although these routes have reached no backend within {PATIENCE:?}");
        tell(&[]);
    }
}

/// Waits until the channel has a connection, or the answer that there is nobody to connect to.
async fn settled(channel: &Channel, began: Instant) {
    let mut state = channel.state();
    loop {
        let answered = state == Connectivity::TransientFailure
            && (began.elapsed() < PROMPT || channel.snapshot().resolver.endpoints == Some(0));
        if state == Connectivity::Ready || answered {
            return;
        }
        state = channel.state_changed(state).await;
    }
}

fn said(waiting: &[&str]) -> Ready {
    if waiting.is_empty() {
        return Ok(());
    }
    Err(format!(
        "no backend was reached yet by the routes {}; it is ready {PATIENCE:?} after its start in any case",
        waiting.join(", ")
    ))
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

    /// What comes of a route, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Comes {
        Connection(u64),
        Refusal(u64),
        NoEndpoint(u64),
        NoAnswer(u64),
        Nothing,
    }

    impl Resolver for Comes {
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

    impl Connector for Comes {
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
                // An empty SETTINGS frame, with which every HTTP/2 peer begins.
                write.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                copy(&mut read, &mut sink()).await
            });
            Ok(ours)
        }
    }

    /// After how many milliseconds a gateway with these routes is ready, and what it said last before.
    async fn ready_after(routes: &[Comes]) -> (u128, String) {
        let channel = |comes: &Comes| {
            Channel::builder("dns:///svc:80").resolver(*comes).connector(*comes).build().unwrap()
        };
        let channels: Vec<_> = ["a", "b"].into_iter().zip(routes.iter().map(channel)).collect();
        let (says, mut ready) = watch::channel(Ok(()));
        let began = Instant::now();
        let mut last = String::new();
        tokio::join!(settle(channels.iter().map(|(name, channel)| (*name, channel)), &says), async {
            while let Err(why) = {
                ready.changed().await.unwrap();
                ready.borrow_and_update().clone()
            } {
                last = why;
            }
        });
        (began.elapsed().as_millis(), last)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_with_the_first_connection_or_the_answer_that_there_is_nobody() {
        use Comes::{Connection, NoAnswer, NoEndpoint, Nothing, Refusal};
        for (routes, expected) in [
            (&[Connection(0)][..], 0),
            (&[Connection(1203)], 1203),
            (&[Refusal(3)], 3),
            // A refusal that comes that late is a network that does not work yet.
            (&[Refusal(900)], 3500),
            (&[NoEndpoint(20)], 20),
            (&[NoEndpoint(1800)], 1800),
            (&[NoAnswer(20)], 20),
            (&[NoAnswer(1000)], 3500),
            (&[Nothing], 3500),
            (&[], 0),
            (&[Connection(700), Refusal(2)], 700),
            (&[Connection(2), Connection(3100)], 3100),
        ] {
            let (took, _) = ready_after(routes).await;
            // Timers are as fine as a millisecond.
            assert!((expected..expected + 3).contains(&took), "{took} ms instead of {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_what_it_waits_for() {
        let (_, said) = ready_after(&[Comes::Nothing, Comes::Nothing]).await;
        assert_eq!(
            said,
            "no backend was reached yet by the routes a, b; it is ready 3.5s after its start in any case"
        );
        let (_, said) = ready_after(&[Comes::Connection(10), Comes::Nothing]).await;
        assert!(said.contains("by the routes b;"), "{said}");
    }
}
