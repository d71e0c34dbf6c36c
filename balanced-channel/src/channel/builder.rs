//! The settings of a channel.

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
    transport::{Connector, HeaderListLimit, Keepalive, TcpConnector},
};

/// Configures a [`Channel`]. Every setting has a default that suits a service in the same cluster.
pub struct Builder<C = TcpConnector> {
    connector: C,
    config: ChannelConfig,
}

// === impl Channel ===

impl Channel {
    /// Creates a channel to `target` with default settings. It starts to connect at once.
    ///
    /// # Errors
    ///
    /// If the target is invalid, or outside a tokio runtime.
    pub fn new<T>(target: T) -> Result<Self, BuildError>
    where
        T: TryInto<Target, Error = TargetError>,
    {
        Self::builder(target).build()
    }

    /// Configures a channel to `target`. [`Builder::build`] reports an invalid target.
    pub fn builder<T>(target: T) -> Builder
    where
        T: TryInto<Target, Error = TargetError>,
    {
        Builder { connector: TcpConnector::default(), config: ChannelConfig::new(target.try_into()) }
    }
}

// === impl Builder ===

impl<C: Connector> Builder<C> {
    /// Opens connections with `connector` instead of TCP, for example through a tunnel or a simulated network.
    pub fn connector<D: Connector>(self, connector: D) -> Builder<D> {
        Builder { connector, config: self.config }
    }

    /// Encrypts connections. The certificate of the server must be valid for the host of the authority: that of the
    /// target, or the one set by [`authority`](Self::authority) before.
    ///
    /// # Errors
    ///
    /// If the target is invalid or a file cannot be used.
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

    /// Sets the failure zone of this client, such as the label `topology.kubernetes.io/zone` of its node. Default: none
    /// (also if empty), and calls go to all zones.
    ///
    /// The preferred endpoints are
    ///
    /// 1. those that the resolver assigns to this zone ([`Endpoint::for_zones`](crate::Endpoint)), if it assigns zones
    ///    to every endpoint and this zone to some; or else
    /// 2. those in this zone, if there are at least two, the zone of every endpoint is known, and no endpoint would get
    ///    more than 1.2 times the calls that it gets without zones. This assumes the same number of clients in each
    ///    zone that has endpoints, all of which follow this rule; or else
    /// 3. all endpoints.
    ///
    /// While no preferred endpoint takes calls, and until half of them do again, calls go to all endpoints.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.config.zone = Some(zone.into()).filter(|zone| !zone.is_empty()).map(Arc::from);
        self
    }

    /// Sets the kubeconfig file for a `kubernetes:///` target. The channel uses its current context, and reads the file
    /// again after each failure of the API server. Default: the file in `KUBECONFIG`, or else `~/.kube/config`, or else
    /// the service account of the pod.
    #[cfg(feature = "kubernetes")]
    pub fn kubeconfig(mut self, file: impl Into<std::path::PathBuf>) -> Self {
        self.config.kubernetes = crate::resolver::kubernetes::Access::File(file.into());
        self
    }

    /// Names the channel in its log lines, beside the target. Default: no name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Sets the `:authority` of every call. Default: the host and port of the target.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.config.authority = Some(authority);
        self
    }

    /// Sets how often a name is looked up. Default: when its TTL has passed, but after at least 1 s and at most 2 s.
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.config.refresh = refresh;
        self
    }

    /// Sets the backoff between attempts to connect to an endpoint. It ends early when the resolver lists the endpoint
    /// again or under another name; while no endpoint is READY, all are tried every second. Default: the values of the
    /// gRPC connection-backoff document.
    pub fn backoff(mut self, backoff: BackoffPolicy) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// Applies a service config, in which the owner of the service configures its clients. Settings that it does not
    /// name stay; setters that are called later override it.
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

    /// Sets the load-balancing policy. Default: [`Policy::RoundRobin`].
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.config.policy = policy.into();
        self
    }

    /// Sets when a connected endpoint that fails its calls is ejected, and for how long. Default: after 5 failed calls
    /// in a row, for 30 s.
    pub fn outlier_detection(mut self, outliers: OutlierDetection) -> Self {
        self.config.outliers = outliers;
        self
    }

    /// Sets the time limit of an attempt to connect, until the peer's HTTP/2 SETTINGS arrive. Default: 5 s.
    ///
    /// The gRPC connection-backoff document has 20 s. When packets are lost, however, the kernel resends after 1, 3, 7
    /// and 15 s, so a new attempt every 5 s finds a network that works again sooner. Calls do not wait for the attempt
    /// while another endpoint is connected.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.http2.connect_timeout = timeout;
        self
    }

    /// Sets how unresponsive peers are detected; `None` turns this off. Default: see [`Keepalive`].
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.config.http2.keepalive = keepalive.into();
        self
    }

    /// Sets the maximum size of the headers, and of the trailers, of a response, in bytes as HTTP/2 counts them: the
    /// lengths of each name and value, and 32 more (RFC 9113, section 6.5.2). A response above it fails with
    /// RESOURCE_EXHAUSTED. At least 4 KiB. Default: 16 KiB, the hard limit of gRPC's C core.
    pub fn max_header_list_size(mut self, bytes: u32) -> Self {
        self.config.http2.header_list_limit = HeaderListLimit::new(bytes);
        self
    }

    /// Sets whether calls wait for a connection, up to their deadline, while every endpoint fails. Default: false;
    /// calls then fail with UNAVAILABLE and the reason of the last failure.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.config.wait_for_ready = wait;
        self
    }

    /// Sets the number of bytes of a streaming request that are kept for retries; a call that has sent more is
    /// committed to the current attempt. The first message, and so every unary request, is always kept. Default:
    /// 256 KiB.
    pub fn retry_buffer(mut self, bytes: usize) -> Self {
        self.config.retry_buffer = bytes;
        self
    }

    /// Sets which failed calls are retried, for methods without a config of their own. Default: only calls that no
    /// server has processed. See [`RetryPolicy`] for when more is safe.
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.config.methods.default_mut().retry_policy = Some(policy);
        self
    }

    /// Sets which slow calls are hedged, for methods without a config of their own. Cannot be combined with
    /// [`retry_policy`](Self::retry_policy). Default: none.
    pub fn hedging_policy(mut self, policy: HedgingPolicy) -> Self {
        self.config.methods.default_mut().hedging_policy = Some(policy);
        self
    }

    /// Limits the number of hedges because of slow attempts. Default: see [`HedgingBudget`].
    pub fn hedging_budget(mut self, budget: HedgingBudget) -> Self {
        self.config.hedging_budget = budget;
        self
    }

    /// Sets when retries stop because too many calls fail. Default: never.
    pub fn retry_throttling(mut self, throttling: RetryThrottling) -> Self {
        self.config.retry_throttling = Some(throttling);
        self
    }

    /// Watches, on each connection, the health that the server reports for `service`, or for the whole server if that
    /// is empty, and sends calls only to servers that are SERVING ([gRFC A17]). A server without
    /// `grpc.health.v1.Health/Watch` counts as healthy. Has no effect with [`Policy::PickFirst`]. Default: off.
    ///
    /// [gRFC A17]: https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md
    pub fn health_check(mut self, service: impl Into<String>) -> Self {
        self.config.health_check = Some(service.into());
        self
    }

    /// Sets whether [`Channel::metrics`] includes metrics of calls by method and status: `grpc.client.*` of gRFC A66
    /// and A96. Generated clients name the method of each call; calls without a name count as `other`. Default: false.
    /// Metrics of connections and policies are always included.
    pub fn call_metrics(mut self, measure: bool) -> Self {
        self.config.call_metrics = measure;
        self
    }

    /// Starts the channel.
    ///
    /// # Errors
    ///
    /// If the target or a retry setting is invalid, or outside a tokio runtime.
    pub fn build(self) -> Result<Channel, BuildError> {
        self.config.start(self.connector)
    }
}
