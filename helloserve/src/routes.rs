//! The routes: named ways to gRPC backends, each a channel made once at start. The first is the default.

use std::time::Duration;

use balanced_channel::{Channel, ChannelSnapshot, Connectivity, ServiceConfig, Target};
use futures_util::FutureExt as _;
use http::HeaderMap;
use prometheus::{IntCounter, IntCounterVec, Opts};
use proto::hello::Introduction;
use serde::Serialize;
use service::Metrics;

use crate::{
    channel_metrics::ChannelMetrics,
    route_config::{DEFAULT, RouteConfig, RouteConfigs},
    upstream::{Failure, grpc::GrpcUpstream, shortened},
};

/// All routes, never none: the first is the default. A handful, so a name is found by looking at each.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

/// One way to gRPC backends.
#[derive(Debug)]
pub(crate) struct Route {
    name: String,
    /// The load balancing policy, by gRPC's name.
    policy: &'static str,
    upstream: GrpcUpstream,
    answered: IntCounter,
    failed: IntCounter,
}

/// How a route stands, for `GET /routes`.
#[derive(Debug, Serialize)]
pub(crate) struct RouteStatus<'a> {
    name: &'a str,
    target: &'a str,
    policy: &'static str,
    /// As gRPC aggregates the states of subchannels.
    state: Connectivity,
    endpoints: Endpoints,
    /// Why no call can be sent now, or why the name could not be looked up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The endpoints of a route.
#[derive(Debug, Serialize)]
struct Endpoints {
    /// Those with a connection that takes calls.
    ready: usize,
    /// All that the name has; null before it was first looked up.
    total: Option<usize>,
}

/// A name that no route has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no route is called {name:?}; ?via= knows {}", .known.join(", "))]
pub(crate) struct UnknownRoute {
    name: String,
    /// The names that there are.
    pub(crate) known: Vec<String>,
}

// === impl Routes ===

impl Routes {
    /// Makes the channel of each route, which begins to connect at once and prefers `zone`, if that is not empty. Counts
    /// their calls in `helloserve_route_calls_total`, and registers what the channels count themselves: single calls if
    /// `call_metrics` says so.
    ///
    /// # Errors
    ///
    /// When a channel cannot be made; names the route.
    pub(crate) fn new(
        target: &Target,
        service_config: &ServiceConfig,
        more: RouteConfigs,
        zone: &str,
        call_metrics: bool,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let calls = IntCounterVec::new(
            Opts::new("helloserve_route_calls_total", "Calls to gRPC backends that ended, by their route."),
            &["route", "outcome"],
        )
        .expect("the name and labels are valid");
        metrics.register(calls.clone());
        let default = RouteConfig { name: DEFAULT.to_owned(), target: None, service_config: None };
        let route = |RouteConfig { name, target: own_target, service_config: own_config }| {
            let target = own_target.as_ref().unwrap_or(target);
            let config = own_config.unwrap_or_else(|| service_config.clone());
            let policy = config.policy.clone().unwrap_or_default().name();
            let builder = Channel::builder(target.as_str()).service_config(config).zone(zone);
            let channel = builder.call_metrics(call_metrics).build();
            let channel = channel.map_err(|error| format!("GRPC_ROUTES: the route {name:?}: {error}"))?;
            Ok(Route {
                policy,
                upstream: GrpcUpstream::new(target, channel, call_metrics),
                answered: calls.with_label_values(&[name.as_str(), "answered"]),
                failed: calls.with_label_values(&[name.as_str(), "failed"]),
                name,
            })
        };
        let routes =
            [default].into_iter().chain(more.0).map(route).collect::<Result<_, String>>().map(Self)?;
        let channels = routes.channels().map(|(name, channel)| (name.to_owned(), channel.clone()));
        metrics.register(ChannelMetrics::new(channels.collect()));
        Ok(routes)
    }

    /// The route of this name; without a name, the default.
    ///
    /// # Errors
    ///
    /// When there is none, with the names that there are.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&Route, UnknownRoute> {
        let name = name.unwrap_or(DEFAULT);
        self.0.iter().find(|route| route.name == name).ok_or_else(|| UnknownRoute {
            name: shortened(name),
            known: self.0.iter().map(|route| route.name.clone()).collect(),
        })
    }

    /// How each stands, in the order of their configuration.
    pub(crate) fn status(&self) -> Vec<RouteStatus<'_>> {
        self.0.iter().map(Route::status).collect()
    }

    /// The channels, with the names of their routes.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.0.iter().map(|route| (&*route.name, &route.upstream.channel))
    }

    /// What each channel knows about itself, with its name.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = (&str, ChannelSnapshot)> {
        self.channels().map(|(name, channel)| (name, channel.snapshot()))
    }
}

// === impl Route ===

impl Route {
    /// Asks a backend to greet `name`.
    ///
    /// # Errors
    ///
    /// Those of [`GrpcUpstream::greet`].
    pub(crate) fn greet(
        &self,
        name: String,
        headers: HeaderMap,
        allowed: Duration,
    ) -> impl Future<Output = Result<Introduction, Failure>> {
        self.upstream
            .greet(name, headers, allowed)
            .inspect(|said| if said.is_ok() { &self.answered } else { &self.failed }.inc())
    }

    fn status(&self) -> RouteStatus<'_> {
        let snapshot = self.upstream.channel.snapshot();
        let endpoints = Endpoints { ready: snapshot.ready(), total: snapshot.resolver.endpoints };
        let state = self.upstream.channel.state();
        let last_error = match state {
            Connectivity::Ready => None,
            _ => snapshot.subchannels.into_iter().find_map(|subchannel| subchannel.last_error),
        };
        RouteStatus {
            name: &self.name,
            target: &self.upstream.backend.target,
            policy: self.policy,
            state,
            endpoints,
            error: snapshot.resolver.error.or(last_error),
        }
    }
}
