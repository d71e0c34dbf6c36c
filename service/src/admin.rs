//! The admin port: how a program is watched, beside the port where it works.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutLayer;

use crate::{
    Metrics, Problem, Shutdown,
    http::{ConnectionConfig, finish, serve_on},
};

/// Connections of the admin port that may be open at once.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not zero");

/// The time that the admin port may take for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The type that Prometheus' text format has.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The time that `/readyz` waits for a program that is about to be ready. Whoever asks, asks again only after a while:
/// the kubelet after a second, and that is also how long it waits for an answer.
const ABOUT_TO_BE: Duration = Duration::from_millis(500);

/// True if a program is ready, or else why it is not, in one sentence.
pub type Ready = Result<(), String>;

/// The pages of the admin port: `/healthz` and `/_ah/health` while the program lives, `/readyz` while it takes
/// work, `/metrics`, and routes that the program adds. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    watched: Arc<Watched>,
    routes: Arc<RwLock<Routes>>,
}

/// The state behind the pages.
struct Watched {
    metrics: Metrics,
    shutdown: Shutdown,
    ready: RwLock<watch::Receiver<Ready>>,
}

/// The routes as they are now. Programs add theirs after the port is open: a slow start is alive already.
struct Routes {
    plain: Router,
    finished: Router,
}

// === impl Admin ===

impl Admin {
    pub(crate) fn new(metrics: Metrics, shutdown: Shutdown) -> Self {
        let (_always, ready) = watch::channel(Ok(()));
        let watched = Arc::new(Watched { metrics, shutdown, ready: RwLock::new(ready) });
        let routes = Router::new()
            .route("/", get(hello_world))
            .route("/healthz", get(healthz))
            .route("/_ah/health", get(readyz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_text))
            .with_state(Arc::clone(&watched));
        let routes = Routes::new(routes);
        Self { watched, routes: Arc::new(RwLock::new(routes)) }
    }

    /// Sets where it is said whether the program is ready, or in one sentence why not. Without it, a program is ready
    /// until it drains; with it too, a program that drains is not ready.
    pub fn ready_as(&self, ready: watch::Receiver<Ready>) {
        *self.watched.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Adds routes.
    ///
    /// # Panics
    ///
    /// When a route is already there. Programs add theirs once, at start.
    pub fn merge(&self, added: Router) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        *routes = Routes::new(routes.plain.clone().merge(added));
    }

    /// Returns whether the program takes work.
    ///
    /// # Errors
    ///
    /// The reason, in one sentence.
    pub fn ready(&self) -> Ready {
        self.watched.ready()
    }

    /// The routes, with those that are added later.
    pub fn router(&self) -> Router {
        let routes = Arc::clone(&self.routes);
        Router::new().fallback(move |request: Request| {
            let now = routes.read().unwrap_or_else(PoisonError::into_inner).finished.clone();
            now.oneshot(request)
        })
    }

    /// Serves the routes until the future is dropped: a program that drains is watched to its end.
    pub async fn serve(&self, listener: TcpListener) {
        let (_trigger, never) = Shutdown::new();
        let config = ConnectionConfig { max_connections: MAX_CONNECTIONS, ..ConnectionConfig::default() };
        let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, RESPONSE_TIMEOUT);
        let router = self.router().layer(timeout);
        serve_on(listener, router, never, config, self.watched.metrics.connections("admin")).await;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

// === impl Watched ===

impl Watched {
    fn ready(&self) -> Ready {
        if self.shutdown.is_draining() {
            return Err("the program is stopping".to_owned());
        }
        self.said().borrow().clone()
    }

    /// The same, but waits a moment for a program that is not ready yet.
    async fn soon_ready(&self) -> Ready {
        if self.ready().is_err() && !self.shutdown.is_draining() {
            let mut said = self.said();
            // Ready or not, by now.
            drop(timeout(ABOUT_TO_BE, said.wait_for(Result::is_ok)).await);
        }
        self.ready()
    }

    fn said(&self) -> watch::Receiver<Ready> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Routes ===

impl Routes {
    fn new(plain: Router) -> Self {
        Self { finished: finish(plain.clone(), None), plain }
    }
}

async fn hello_world() -> &'static str {
    "hello world"
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(watched): State<Arc<Watched>>) -> Result<&'static str, Problem> {
    watched
        .soon_ready()
        .await
        .map(|()| "ok")
        .map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))
}

async fn metrics_text(State(watched): State<Arc<Watched>>) -> Result<Response, Problem> {
    let text = watched
        .metrics
        .render()
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response())
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{Identity, Instance};

    #[tokio::test(start_paused = true)]
    async fn who_asks_a_moment_before_it_is_ready_waits_for_that_moment_and_not_for_long() {
        let (trigger, shutdown) = Shutdown::new();
        let identity = Identity { version: "v1-test".into(), hostname: "pod-1".into() };
        let admin = Instance::new(identity, shutdown).admin;
        let (says, ready) = watch::channel(Err("not yet".to_owned()));
        admin.ready_as(ready);
        let began = Instant::now();
        assert_eq!(admin.watched.soon_ready().await, Err("not yet".to_owned()));
        assert_eq!(began.elapsed(), ABOUT_TO_BE);

        let soon = async {
            sleep(ABOUT_TO_BE / 2).await;
            says.send(Ok(())).unwrap();
        };
        let began = Instant::now();
        assert_eq!(tokio::join!(admin.watched.soon_ready(), soon).0, Ok(()));
        assert_eq!(began.elapsed(), ABOUT_TO_BE / 2);

        trigger.drain();
        let began = Instant::now();
        assert!(admin.watched.soon_ready().await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
