//! The admin port: health, readiness, metrics and debug pages, apart from the port that serves clients.

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

/// The maximum number of open connections.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not zero");

/// The time limit of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The content type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The time that `/readyz` waits for the program to become ready before it answers 503. After a 503, the kubelet probes
/// again only a second later; its probe times out after a second by default.
const READY_WAIT: Duration = Duration::from_millis(500);

/// The readiness of a program; the error is the reason, in one sentence.
pub type Readiness = Result<(), String>;

/// The pages of the admin port: `/healthz` (liveness), `/readyz` and `/_ah/health` (readiness), `/metrics`, and routes
/// that the program adds. Clones share their state.
#[derive(Clone)]
pub struct Admin {
    state: Arc<AdminState>,
    routes: Arc<RwLock<Routes>>,
}

/// The state behind the pages.
struct AdminState {
    metrics: Metrics,
    shutdown: Shutdown,
    readiness: RwLock<watch::Receiver<Readiness>>,
}

/// The current routes. The port is open before a program adds its own, so that a program that starts slowly passes its
/// liveness probe.
struct Routes {
    plain: Router,
    with_middleware: Router,
}

// === impl Admin ===

impl Admin {
    pub(crate) fn new(metrics: Metrics, shutdown: Shutdown) -> Self {
        let (_sender, ready) = watch::channel(Ok(()));
        let state = Arc::new(AdminState { metrics, shutdown, readiness: RwLock::new(ready) });
        let routes = Router::new()
            .route("/", get(hello_world))
            .route("/healthz", get(healthz))
            .route("/_ah/health", get(readyz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_text))
            .with_state(Arc::clone(&state));
        let routes = Routes::new(routes);
        Self { state, routes: Arc::new(RwLock::new(routes)) }
    }

    /// Makes the program ready only while `readiness` is `Ok`. Without this call it is ready from the start. In both
    /// cases it is not ready while it drains.
    pub fn set_readiness(&self, readiness: watch::Receiver<Readiness>) {
        *self.state.readiness.write().unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// Adds routes.
    ///
    /// # Panics
    ///
    /// If a route exists already. Programs add theirs once, at start.
    pub fn merge(&self, added: Router) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        *routes = Routes::new(routes.plain.clone().merge(added));
    }

    /// Returns whether the program is ready.
    ///
    /// # Errors
    ///
    /// Returns the reason in one sentence if it is not.
    pub fn ready(&self) -> Readiness {
        self.state.ready()
    }

    /// Returns the routes, including those that are added later.
    pub fn router(&self) -> Router {
        let routes = Arc::clone(&self.routes);
        Router::new().fallback(move |request: Request| {
            let current = routes.read().unwrap_or_else(PoisonError::into_inner).with_middleware.clone();
            current.oneshot(request)
        })
    }

    /// Serves the routes until the future is dropped. It ignores the shutdown, so that probes and scrapes work until the
    /// program ends.
    pub async fn serve(&self, listener: TcpListener) {
        let (_trigger, never) = Shutdown::new();
        let config = ConnectionConfig { max_connections: MAX_CONNECTIONS, ..ConnectionConfig::default() };
        let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, RESPONSE_TIMEOUT);
        let router = self.router().layer(timeout);
        serve_on(listener, router, never, config, self.state.metrics.connections("admin")).await;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

// === impl AdminState ===

impl AdminState {
    fn ready(&self) -> Readiness {
        if self.shutdown.is_draining() {
            return Err("the program is stopping".to_owned());
        }
        self.readiness().borrow().clone()
    }

    /// Returns whether the program is ready, after up to [`READY_WAIT`] if it is not.
    async fn wait_until_ready(&self) -> Readiness {
        if self.ready().is_err() && !self.shutdown.is_draining() {
            let mut readiness = self.readiness();
            // The result does not matter: the readiness is read again below.
            drop(timeout(READY_WAIT, readiness.wait_for(Result::is_ok)).await);
        }
        self.ready()
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Routes ===

impl Routes {
    fn new(plain: Router) -> Self {
        Self { with_middleware: finish(plain.clone(), None), plain }
    }
}

async fn hello_world() -> &'static str {
    "hello world"
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Result<&'static str, Problem> {
    let ready = state.wait_until_ready().await;
    ready.map(|()| "ok").map_err(|reason| Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason))
}

async fn metrics_text(State(state): State<Arc<AdminState>>) -> Result<Response, Problem> {
    let text = state
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
    async fn readyz_waits_a_short_time_until_the_program_is_ready() {
        let (trigger, shutdown) = Shutdown::new();
        let identity = Identity { version: "v1-test".into(), hostname: "pod-1".into() };
        let admin = Instance::new(identity, shutdown).admin;
        let (sender, readiness) = watch::channel(Err("not yet".to_owned()));
        admin.set_readiness(readiness);
        let began = Instant::now();
        assert_eq!(admin.state.wait_until_ready().await, Err("not yet".to_owned()));
        assert_eq!(began.elapsed(), READY_WAIT);

        let soon = async {
            sleep(READY_WAIT / 2).await;
            sender.send(Ok(())).unwrap();
        };
        let began = Instant::now();
        assert_eq!(tokio::join!(admin.state.wait_until_ready(), soon).0, Ok(()));
        assert_eq!(began.elapsed(), READY_WAIT / 2);

        trigger.drain();
        let began = Instant::now();
        assert!(admin.state.wait_until_ready().await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
