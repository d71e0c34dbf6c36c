//! The knobs of a channel.

use std::{sync::Arc, time::Duration};

use http::uri::Authority;

use super::build::{BuildError, ChannelConfig};
use crate::{
    backoff::BackoffPolicy,
    channel::Channel,
    outlier::OutlierDetection,
    policy::Policy,
    resolver::{Refresh, Resolver},
    service_config::{HedgingBudget, HedgingPolicy, RetryPolicy, RetryThrottling, ServiceConfig},
    target::{Target, TargetError},
    transport::{Connector, Keepalive, TcpConnector},
};

/// Configures a [`Channel`]. Every knob has a default that fits a service in one cluster.
pub struct Builder<C = TcpConnector> {
    connector: C,
    config: ChannelConfig,
}

// === impl Channel ===

impl Channel {
    /// A channel to `target` with every knob at its default. It connects by itself, at once.
    ///
    /// # Errors
    ///
    /// When the target cannot be used, or outside a tokio runtime.
    pub fn new<T>(target: T) -> Result<Self, BuildError>
    where
        T: TryInto<Target, Error = TargetError>,
    {
        Self::builder(target).build()
    }

    /// Configures a channel to `target`. A target that cannot be used is reported by
    /// [`Builder::build`].
    pub fn builder<T>(target: T) -> Builder
    where
        T: TryInto<Target, Error = TargetError>,
    {
        Builder { connector: TcpConnector::default(), config: ChannelConfig::new(target.try_into()) }
    }
}

// === impl Builder ===

impl<C: Connector> Builder<C> {
    /// Opens connections with `connector` instead of TCP: a tunnel, or a simulated network.
    pub fn connector<D: Connector>(self, connector: D) -> Builder<D> {
        Builder { connector, config: self.config }
    }

    /// Encrypts connections. The server must prove the host of the authority: that of the target,
    /// or the one that [`authority`](Self::authority) was given before.
    ///
    /// # Errors
    ///
    /// When the target or a file cannot be used.
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: crate::Tls) -> Result<Builder<crate::TlsConnector<C>>, BuildError>
    where
        C: Clone,
    {
        let target = self.config.target.clone()?;
        let host = self.config.authority.as_ref().unwrap_or(target.authority()).host().to_owned();
        let connector = crate::TlsConnector::new(self.connector.clone(), tls, &host)?;
        Ok(self.connector(connector))
    }

    /// Finds endpoints with `resolver` instead of the one that the target's scheme names.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.config.resolver = Some(Box::new(resolver));
        self
    }

    /// The failure zone that this client is in, such as the node's label `topology.kubernetes.io/zone`;
    /// empty is none. Default: none, and calls go everywhere.
    ///
    /// Calls go to the endpoints that the resolver names for this zone, if it names zones for every one
    /// of them and this zone for some. Else they go to those in this zone, if there are at least two, the
    /// zone of each endpoint is known, and none of them would then be called more than 1.2 times as often
    /// as when everybody calls everywhere: supposing that each zone that has endpoints has as many
    /// clients, and that these go by the same rule. Else they go everywhere; and also while none of the
    /// preferred ones takes calls, until half of them do.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.config.zone = Some(zone.into()).filter(|zone| !zone.is_empty()).map(Arc::from);
        self
    }

    /// Asks the API server of this kubeconfig file's current context, for a `kubernetes:///` target. It
    /// is read again whenever the API server has failed. Default: what `KUBECONFIG` names, or else
    /// `~/.kube/config`, or else the service account of the pod.
    #[cfg(feature = "kubernetes")]
    pub fn kubeconfig(mut self, file: impl Into<std::path::PathBuf>) -> Self {
        self.config.kubernetes = crate::resolver::kubernetes::Access::File(file.into());
        self
    }

    /// The `:authority` of every call. Default: the host and port of the target.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.config.authority = Some(authority);
        self
    }

    /// Returns the number of times that a name is looked up again. Default: at its TTL, between 1 s and 2 s.
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.config.refresh = refresh;
        self
    }

    /// The time that an endpoint that cannot be reached is left alone. An answer of the resolver in which it is new, or
    /// has another name, cuts that short; with nothing READY, everything is tried every second. Default: the gRPC
    /// connection-backoff document's.
    pub fn backoff(mut self, backoff: BackoffPolicy) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// Takes what the owner of the service wants of its clients. What the config does not name stays
    /// as it is, and a setter that is called later wins.
    pub fn service_config(mut self, config: ServiceConfig) -> Self {
        let target = self.config.target.as_ref().map(ToString::to_string).unwrap_or_default();
        for field in config.unknown_fields {
            tracing::warn!(
                target = target.as_str(),
                field,
                "unknown field of the service config has no effect"
            );
        }
        self.config.policy = config.policy.unwrap_or(self.config.policy);
        self.config.outliers = config.outlier_detection.unwrap_or(self.config.outliers);
        self.config.retry_throttling = config.retry_throttling.or(self.config.retry_throttling);
        self.config.hedging_budget = config.hedging_budget.unwrap_or(self.config.hedging_budget);
        self.config.health_check = config.health_check_service.or(self.config.health_check);
        for (name, config) in config.methods {
            self.config.methods.insert(name, config);
        }
        self
    }

    /// How calls are spread over the endpoints. Default: [`Policy::RoundRobin`].
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.config.policy = policy.into();
        self
    }

    /// When an endpoint that is connected and fails its calls is left out, and for how long.
    /// Default: after 5 calls in a row, for 30 s.
    pub fn outlier_detection(mut self, outliers: OutlierDetection) -> Self {
        self.config.outliers = outliers;
        self
    }

    /// Returns the time that an attempt to connect may take, to the peer's HTTP/2 SETTINGS. Default: 5 s.
    ///
    /// Calls go to endpoints that are connected, so nobody waits for one that is not unless there is
    /// no other. The gRPC connection-backoff document gives an attempt 20 s; but when packets are
    /// lost, the kernel tries after 1, 3, 7 and 15 s, and a new attempt every 5 s finds a network
    /// that works again sooner than an old one that waits for its next try.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.http2.connect_timeout = timeout;
        self
    }

    /// Finds peers that are gone without a word; `None` turns it off. Default: on, see
    /// [`Keepalive`].
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.config.http2.keepalive = keepalive.into();
        self
    }

    /// Returns whether calls wait for a connection, up to their deadline, even when every endpoint fails.
    /// Default: no, they fail with UNAVAILABLE and the last failure's reason.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.config.wait_for_ready = wait;
        self
    }

    /// The number of bytes per call of a streaming request that are kept so that it can be sent again; a
    /// call that has sent more is committed to the attempt under way. Default: 256 KiB. The first
    /// message is always kept, and so are unary requests: the caller holds them anyway.
    pub fn retry_buffer(mut self, bytes: usize) -> Self {
        self.config.retry_buffer = bytes;
        self
    }

    /// Which failed calls are sent again, for every method that has no config of its own. Default:
    /// only those that no server has seen. See [`RetryPolicy`] for when more is safe.
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.config.methods.default_mut().retry_policy = Some(policy);
        self
    }

    /// Which slow calls are sent a second time, for every method that has no config of its own. Not together with
    /// [`retry_policy`](Self::retry_policy). Default: none.
    pub fn hedging_policy(mut self, policy: HedgingPolicy) -> Self {
        self.config.methods.default_mut().hedging_policy = Some(policy);
        self
    }

    /// The number of hedges that slowness may cause. Default: see [`HedgingBudget`].
    pub fn hedging_budget(mut self, budget: HedgingBudget) -> Self {
        self.config.hedging_budget = budget;
        self
    }

    /// When retries stop because too much fails. Default: never.
    pub fn retry_throttling(mut self, throttling: RetryThrottling) -> Self {
        self.config.retry_throttling = Some(throttling);
        self
    }

    /// Watches, on each connection, what the server says of the health of `service`, or of itself if
    /// that is empty, and sends calls only where it is SERVING ([gRFC A17]). A server without
    /// `grpc.health.v1.Health/Watch` counts as healthy. Not with [`Policy::PickFirst`], which would
    /// not know where else to go. Default: off.
    ///
    /// [gRFC A17]: https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md
    pub fn health_check(mut self, service: impl Into<String>) -> Self {
        self.config.health_check = Some(service.into());
        self
    }

    /// Returns whether calls are measured by method and status, for [`Channel::metrics`]: `grpc.client.*` of
    /// gRFC A66 and A96. A generated client names the method of each call; calls that name none count
    /// as `other`. Default: no. What is not of single calls is always counted.
    pub fn call_metrics(mut self, measure: bool) -> Self {
        self.config.call_metrics = measure;
        self
    }

    /// Starts the channel.
    ///
    /// # Errors
    ///
    /// When the target or a retry setting cannot be used, or outside a tokio runtime.
    pub fn build(self) -> Result<Channel, BuildError> {
        self.config.start(self.connector)
    }
}
