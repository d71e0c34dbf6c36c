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

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::Semaphore, time};
use tower::Service as _;
use tracing::debug;

use super::{
    ConnectionConfig, executor::EagerExecutor, in_flight::ConnectionQuota, progress::Progress,
    stream::ObservedStream, timeouts,
};
use crate::{Shutdown, metrics::ConnectionMetrics};

/// The flow-control window of an HTTP/2 stream in bytes: room for a gRPC message of the default maximum size with its
/// prefix.
const STREAM_WINDOW: u32 = 20 * 1024;

/// The flow-control window of an HTTP/2 connection in bytes, the smallest that RFC 9113 (section 6.9.2) allows.
const CONNECTION_WINDOW: u32 = 64 * 1024 - 1;

/// The number of bytes of a response that are buffered while an HTTP/2 client does not accept them.
const SEND_BUFFER: usize = 16 * 1024;

/// The state that the connections of a server share.
pub(super) struct Shared {
    pub(super) builder: auto::Builder<EagerExecutor>,
    pub(super) config: ConnectionConfig,
    pub(super) router: Router,
    pub(super) shutdown: Shutdown,
    pub(super) metrics: ConnectionMetrics,
    /// One permit for each further connection that may be opened.
    pub(super) permits: Arc<Semaphore>,
}

/// Returns hyper's connection builder with the limits of `config`.
pub(super) fn builder(config: &ConnectionConfig) -> auto::Builder<EagerExecutor> {
    let mut builder = auto::Builder::new(EagerExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts::HEAD)
        .max_buf_size(config.max_header_list_size as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        // A client may reset all of its calls together, when they share a deadline. By default h2 treats more than 20 as
        // an attack (CVE-2023-44487) and ends the connection, which fails the other calls on it.
        .max_pending_accept_reset_streams(config.max_concurrent_streams as usize)
        .max_header_list_size(config.max_header_list_size)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval((!config.keepalive_time.is_zero()).then_some(config.keepalive_time))
        .keep_alive_timeout(config.keepalive_timeout);
    builder
}

/// Serves a connection until the client closes it or exceeds a timeout, until the connection is too old or idle, or until
/// the program shuts down.
pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    // Responses are small and written whole, so Nagle's algorithm would only delay them. A broken socket fails on its
    // first use anyway.
    drop(stream.set_nodelay(true));
    let progress = Progress::new();
    let ending = Arc::new(AtomicBool::new(false));
    let quota = ConnectionQuota::default();
    let service = service_fn({
        let (shared, progress, ending) = (Arc::clone(&shared), Arc::clone(&progress), Arc::clone(&ending));
        move |request: Request<Incoming>| {
            let http2 = request.version() >= Version::HTTP_2;
            let exchange = progress.start(http2);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(quota.clone());
            let response = shared.router.clone().call(request);
            let ending = Arc::clone(&ending);
            async move {
                let mut response = response.await?;
                if !http2 && ending.load(Ordering::Relaxed) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| exchange.respond(body)))
            }
        }
    });
    let io = TokioIo::new(ObservedStream::new(stream, Arc::clone(&progress)));
    let connection = pin!(shared.builder.serve_connection(io, service));
    tokio::select! {
        () = end_gracefully(connection, &shared, &progress, &ending) => {}
        overdue = progress.overdue(&shared.shutdown) => {
            shared.metrics.closed(overdue.label());
            debug!(reason = overdue.label(), "connection closed by a timeout");
        }
    }
}

/// Hides the type parameters of hyper-util's connection.
trait GracefulConnection: Future<Output = Result<(), Error>> {
    /// Stops accepting requests; the future ends once those in flight have their responses.
    fn shut_down(self: Pin<&mut Self>);
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl<I, S, B> GracefulConnection for auto::Connection<'_, I, S, EagerExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Error>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Error>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives the connection; ends it gracefully when it is too old or idle, or when the program shuts down.
async fn end_gracefully<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    shared: &Shared,
    progress: &Progress,
    ending: &AtomicBool,
) {
    let Shared { config, shutdown, metrics, .. } = shared;
    let mut too_old = pin!(async {
        tokio::select! {
            () = aged(shared) => {}
            () = progress.idle(config.max_connection_idle) => metrics.closed("idle"),
        }
    });

    // Serving. A draining program still accepts requests, but HTTP/1 clients are told to connect elsewhere.
    let aged = tokio::select! {
        ended = connection.as_mut() => return finished(ended, metrics),
        () = &mut too_old => true,
        () = shutdown.draining() => false,
    };
    ending.store(true, Ordering::Relaxed);
    if !aged {
        tokio::select! {
            ended = connection.as_mut() => return finished(ended, metrics),
            () = too_old => {}
            () = shutdown.closing() => {}
        }
    }
    // An HTTP/2 client gets its GOAWAY at once: calls on a connection that is new, or had none so far, would be cut off
    // when the program ends.
    tokio::select! {
        // First the connection: on a busy machine, a request may have arrived long before it is read.
        biased;
        ended = connection.as_mut() => return finished(ended, metrics),
        () = progress.speaks_http2() => {}
        () = time::sleep(timeouts::LINGER) => {}
    }

    // Ending. No new request; those in flight get their responses.
    connection.as_mut().shut_down();
    tokio::select! {
        ended = connection => finished(ended, metrics),
        () = sleep_unless_zero(config.max_connection_age_grace) => {
            metrics.closed("grace");
            debug!(reason = "grace", "connection closed by a timeout");
        }
    }
}

/// Waits for the age at which a connection is closed. While MAX_CONNECTIONS are open it waits for one more age: the client
/// could not connect again, as clients that send nothing may have taken each free slot.
async fn aged(Shared { config, shutdown, permits, .. }: &Shared) {
    loop {
        sleep_unless_zero(config.max_connection_age.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        if permits.available_permits() > 0 || shutdown.is_draining() {
            return;
        }
    }
}

/// Zero is for ever.
async fn sleep_unless_zero(duration: Duration) {
    if duration.is_zero() { future::pending().await } else { time::sleep(duration).await }
}

fn finished(ended: Result<(), Error>, metrics: &ConnectionMetrics) {
    let Err(error) = ended else { return };
    let hyper = error.downcast_ref::<hyper::Error>();
    let reason = match hyper {
        Some(error) if error.is_parse() => "parse",
        Some(error) if error.is_timeout() => "timeout",
        _ => "broken",
    };
    metrics.closed(reason);
    debug!(%error, reason, "connection failed");
}
