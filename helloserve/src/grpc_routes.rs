//! The routes to gRPC backends, each with a channel of its own. The first one is the default.

use std::time::Duration;

use balanced_channel::{Channel, ChannelSnapshot, Connectivity, Keepalive, OutlierDetection};
use http::HeaderMap;
use prometheus::{IntCounter, IntCounterVec, Opts};
use proto::hello::Introduction;
use serde::Serialize;
use service::Metrics;

use crate::{
    channel_metrics::ChannelMetrics,
    config::Config,
    route_config::{DEFAULT, RouteConfig},
    upstream::{FailureLog, UpstreamError, excerpt, grpc::GrpcUpstream},
};

/// The time without data after which a backend with calls in flight gets a PING, and the time that it has to answer.
/// Together they are less than half a second, so that a frozen backend gets no more calls well before the deadline of
/// its current ones, which are hedged.
const PROBE_TIME: Duration = Duration::from_millis(200);
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);

/// The time that a backend must have had for a call before an exceeded deadline counts as a failure of the backend: callers
/// may set shorter deadlines.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(500);

/// All routes, never empty. A name is found by linear search, because there are few.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

/// A named channel to gRPC backends.
#[derive(Debug)]
pub(crate) struct Route {
    name: String,
    target: String,
    /// The load-balancing policy by its gRPC name.
    policy: &'static str,
    upstream: GrpcUpstream,
    succeeded: IntCounter,
    failed: IntCounter,
    log: FailureLog,
}

/// A route in the response of `GET /routes`.
#[derive(Debug, Serialize)]
pub(crate) struct RouteStatus<'a> {
    name: &'a str,
    policy: &'static str,
    /// The channel's state, aggregated as gRPC does.
    state: Connectivity,
    endpoints: Endpoints,
}

/// A route in the response of `GET /debug/routes` on the admin port, with details that callers must not see.
#[derive(Debug, Serialize)]
pub(crate) struct RouteDetails<'a> {
    #[serde(flatten)]
    status: RouteStatus<'a>,
    target: &'a str,
    /// The error of the name resolution, or else of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The endpoints of a route.
#[derive(Debug, Serialize)]
struct Endpoints {
    /// The number of endpoints that have a connection and get calls.
    ready: usize,
    /// The number of endpoints of the target; null before the first name resolution.
    total: Option<usize>,
}

/// The caller named a route that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {name:?} does not exist; the routes are {}", .known.join(", "))]
pub(crate) struct UnknownRoute {
    name: String,
    /// The names of the existing routes.
    pub(crate) known: Vec<String>,
}

// === impl Routes ===

impl Routes {
    /// Creates the channel of each route, which starts to connect at once.
    ///
    /// # Errors
    ///
    /// If a channel cannot be created; the error names the route.
    pub(crate) fn new(config: Config, metrics: &Metrics) -> Result<Self, String> {
        let Config { grpc_target, grpc_service_config, grpc_routes, grpc_call_metrics, zone, .. } = config;
        let calls = IntCounterVec::new(
            Opts::new("helloserve_route_calls_total", "Calls to gRPC backends, by route and outcome."),
            &["route", "outcome"],
        )
        .expect("the name and labels are valid");
        metrics.register(calls.clone());
        let default = RouteConfig { name: DEFAULT.to_owned(), target: None, service_config: None };
        let route = |RouteConfig { name, target, service_config }| {
            let target = target.as_ref().unwrap_or(&grpc_target);
            let service_config = service_config.unwrap_or_else(|| grpc_service_config.clone());
            let policy = service_config.policy.clone().unwrap_or_default().name();
            let effective = format!("{service_config:?}");
            let channel = Channel::builder(target.as_str())
                .name(&*name)
                .keepalive(Keepalive {
                    probe_time: Some(PROBE_TIME),
                    timeout: PROBE_TIMEOUT,
                    ..Keepalive::default()
                })
                .outlier_detection(OutlierDetection {
                    min_attempt_time: MIN_ATTEMPT_TIME,
                    ..Default::default()
                })
                .service_config(service_config)
                .zone(&zone)
                .call_metrics(grpc_call_metrics)
                .build()
                .map_err(|error| format!("GRPC_ROUTES: route {name:?}: {error}"))?;
            tracing::info!(route = name, %target, policy, service_config = effective, "gRPC route configured");
            Ok(Route {
                target: target.as_str().to_owned(),
                policy,
                upstream: GrpcUpstream::new(channel),
                succeeded: calls.with_label_values(&[name.as_str(), "success"]),
                failed: calls.with_label_values(&[name.as_str(), "failure"]),
                log: FailureLog::default(),
                name,
            })
        };
        let routes = [default].into_iter().chain(grpc_routes.0).map(route).collect::<Result<_, String>>()?;
        let routes = Self(routes);
        let channels = routes.channels().map(|(name, channel)| (name.to_owned(), channel.clone()));
        metrics.register(ChannelMetrics::new(channels.collect()));
        Ok(routes)
    }

    /// Returns the route with this name, or the default route.
    ///
    /// # Errors
    ///
    /// If there is no such route; the error lists the existing ones.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&Route, UnknownRoute> {
        let name = name.unwrap_or(DEFAULT);
        self.0.iter().find(|route| route.name == name).ok_or_else(|| UnknownRoute {
            name: excerpt(name),
            known: self.0.iter().map(|route| route.name.clone()).collect(),
        })
    }

    /// Returns the state of each route, in the order of the configuration.
    pub(crate) fn status(&self) -> Vec<RouteStatus<'_>> {
        self.0.iter().map(Route::status).collect()
    }

    /// Returns the state of each route with its target and its last error.
    pub(crate) fn details(&self) -> Vec<RouteDetails<'_>> {
        self.0.iter().map(Route::details).collect()
    }

    /// Returns the channels with the names of their routes.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.0.iter().map(|route| (&*route.name, &route.upstream.channel))
    }

    /// Returns a snapshot of each channel with the name of its route.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = (&str, ChannelSnapshot)> {
        self.channels().map(|(name, channel)| (name, channel.snapshot()))
    }
}

// === impl Route ===

impl Route {
    /// Calls a backend of this route and counts the outcome.
    ///
    /// # Errors
    ///
    /// Fails as [`GrpcUpstream::greet`] does.
    pub(crate) async fn greet(
        &self,
        name: String,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Introduction, UpstreamError> {
        let outcome = self.upstream.greet(name, headers, timeout).await;
        match &outcome {
            Ok(_) => self.succeeded.inc(),
            Err(error) => {
                self.failed.inc();
                self.log.record(&self.target, error);
            }
        }
        outcome
    }

    fn status(&self) -> RouteStatus<'_> {
        let snapshot = self.upstream.channel.snapshot();
        RouteStatus {
            name: &self.name,
            policy: self.policy,
            state: self.upstream.channel.state(),
            endpoints: Endpoints { ready: snapshot.ready(), total: snapshot.resolver.endpoints },
        }
    }

    fn details(&self) -> RouteDetails<'_> {
        let snapshot = self.upstream.channel.snapshot();
        let connection_error = match self.upstream.channel.state() {
            Connectivity::Ready => None,
            _ => snapshot.subchannels.into_iter().find_map(|subchannel| subchannel.last_error),
        };
        RouteDetails {
            status: self.status(),
            target: &self.target,
            error: snapshot.resolver.error.or(connection_error),
        }
    }
}
