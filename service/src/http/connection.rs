//! One connection, from accept to end.

use std::{
    convert::Infallible,
    future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use futures_util::{TryFutureExt as _, future::Either};
use http::{HeaderValue, Request, header::CONNECTION};
use hyper::body::Incoming;
use tokio::{
    net::TcpStream,
    time::{self, Sleep},
};
use tower::Service as _;
use tracing::debug;

use super::protocol::{Protocol, Served};
use crate::Shutdown;

/// How long a client may take to say its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// How long an HTTP/1 connection that should end waits for one more request, to answer it with
/// `connection: close`. Closing an idle connection races with the request its client is sending, which then
/// fails; clients that pool connections drop idle ones themselves, or use them within this time.
const LINGER: Duration = Duration::from_secs(1);

/// When connections of a server end by themselves: never, by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lifetime {
    /// Zero is for ever.
    pub(super) age: Duration,
    /// Zero is for ever.
    pub(super) grace: Duration,
}

type SleepUnlessZero = Either<future::Pending<()>, Pin<Box<Sleep>>>;

/// One accepted connection.
pub(super) struct Connection {
    stream: TcpStream,
    router: Router,
    lifetime: Lifetime,
    shutdown: Shutdown,
}

// === impl Lifetime ===

impl Lifetime {
    /// Waits until a connection that starts now is too old: its age, give or take 10 %.
    fn too_old(&self) -> SleepUnlessZero {
        sleep_unless_zero(self.age.mul_f64(0.9 + 0.2 * fastrand::f64()))
    }

    /// Waits until a connection that ends has had its grace.
    fn grace(&self) -> SleepUnlessZero {
        sleep_unless_zero(self.grace)
    }
}

/// Zero never ends. What ends is on the heap: all connections would have room for it, and most need none.
fn sleep_unless_zero(duration: Duration) -> SleepUnlessZero {
    if duration.is_zero() {
        Either::Left(future::pending())
    } else {
        Either::Right(Box::pin(time::sleep(duration)))
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(stream: TcpStream, router: Router, lifetime: Lifetime, shutdown: Shutdown) -> Self {
        Self { stream, router, lifetime, shutdown }
    }

    /// Serves until the client leaves, the connection is too old, or the program ends.
    pub(super) fn run<P: Protocol>(self, protocol: P) -> impl Future<Output = ()> {
        let Self { stream, router, lifetime, shutdown } = self;
        // Answers are small and whole: waiting to fill a packet only delays them. A failure shows on first use.
        drop(stream.set_nodelay(true));
        async move {
            if !matches!(time::timeout(FIRST_BYTE, stream.readable()).await, Ok(Ok(()))) {
                return;
            }
            let ending = Arc::new(AtomicBool::new(false));
            let service = hyper::service::service_fn({
                let announce = !P::SAYS_GOAWAY;
                let ending = Arc::clone(&ending);
                move |request| answer(router.clone(), request, announce.then(|| Arc::clone(&ending)))
            });
            let connection = pin!(protocol.serve(stream, service));
            end_gracefully(connection, P::SAYS_GOAWAY, &lifetime, &shutdown, &ending).await;
        }
    }
}

/// Answers one request; says `connection: close` when `ending`.
fn answer(
    mut router: Router,
    request: Request<Incoming>,
    ending: Option<Arc<AtomicBool>>,
) -> impl Future<Output = Result<Response, Infallible>> {
    router.call(request.map(Body::new)).map_ok(move |mut response| {
        if ending.is_some_and(|ending| ending.load(Ordering::Relaxed)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    })
}

async fn end_gracefully<C>(
    mut connection: Pin<&mut C>,
    says_goaway: bool,
    lifetime: &Lifetime,
    shutdown: &Shutdown,
    ending: &AtomicBool,
) where
    C: Served,
{
    let mut too_old = lifetime.too_old();

    // Serving. A program that drains still takes work, but not for long: clients may as well move on.
    let aged = tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = &mut too_old => true,
        () = shutdown.draining() => false,
    };
    ending.store(true, Ordering::Relaxed);
    if !aged {
        tokio::select! {
            ended = connection.as_mut() => return log(ended),
            () = too_old => {}
            () = shutdown.closing() => {}
        }
    }
    if !says_goaway {
        tokio::select! {
            ended = connection.as_mut() => return log(ended),
            () = time::sleep(LINGER) => {}
        }
    }

    // Ending. Nothing new; what is in flight is finished.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => log(ended),
        () = lifetime.grace() => debug!("connection cut off after its grace"),
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!("connection failed: {error}");
    }
}
