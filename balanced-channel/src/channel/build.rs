//! Assembles the parts of a channel.

use std::{sync::Arc, time::Duration};

use http::uri::{Authority, Scheme};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::{
    backoff::BackoffError,
    backoff::BackoffPolicy,
    balancer::BalancerConfig,
    balancer::Locality,
    balancer::Published,
    call::{CallExecutor, HedgeBudget, RetryCounters, RetryThrottle},
    channel::{Channel, Inner},
    metrics::Metrics,
    outlier::OutlierDetection,
    policy::Policy,
    resolver::{self, DnsLookup, PollingResolver, Refresh, Resolver, StaticResolver},
    service_config::{HedgingBudget, Methods, RetryConfigError, RetryThrottling},
    subchannel::HealthCheck,
    target::{ResolverTarget, Target, TargetError},
    transport::{Connector, HeaderListLimit, Http2Config, Keepalive},
};

/// The configuration of a channel, except its connector.
pub(crate) struct ChannelConfig {
    pub(crate) target: Result<Target, TargetError>,
    /// The name in log lines.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) resolver: Option<Box<dyn Resolver>>,
    pub(crate) zone: Option<Arc<str>>,
    #[cfg(feature = "kubernetes")]
    pub(crate) kubernetes: crate::resolver::kubernetes::Access,
    pub(crate) authority: Option<Authority>,
    pub(crate) refresh: Refresh,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) outliers: OutlierDetection,
    pub(crate) policy: Policy,
    pub(crate) http2: Http2Config,
    pub(crate) wait_for_ready: bool,
    pub(crate) retry_buffer: usize,
    pub(crate) methods: Methods,
    pub(crate) retry_throttling: Option<RetryThrottling>,
    pub(crate) hedging_budget: HedgingBudget,
    pub(crate) health_check: Option<String>,
    pub(crate) call_metrics: bool,
}

/// The channel could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A setting of retries or hedging is out of its range.
    #[error(transparent)]
    Retry(#[from] RetryConfigError),
    /// The backoff cannot be used.
    #[error(transparent)]
    Backoff(#[from] BackoffError),
    /// TLS cannot be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// The target requires TLS, which the connector of the channel does not support.
    #[error("target \"{0}\" requires TLS: build the channel with `Builder::tls` (feature `tls`)")]
    Insecure(String),
    /// The channel needs a tokio runtime for its tasks.
    #[error("a channel must be built inside a tokio runtime")]
    NoRuntime,
}

// === impl ChannelConfig ===

impl ChannelConfig {
    /// Returns the default settings.
    pub(crate) fn new(target: Result<Target, TargetError>) -> Self {
        Self {
            target,
            name: None,
            resolver: None,
            zone: None,
            #[cfg(feature = "kubernetes")]
            kubernetes: crate::resolver::kubernetes::Access::default(),
            authority: None,
            refresh: Refresh::default(),
            backoff: BackoffPolicy::default(),
            outliers: OutlierDetection::default(),
            policy: Policy::default(),
            http2: Http2Config {
                connect_timeout: Duration::from_secs(5),
                keepalive: Some(Keepalive::default()),
                header_list_limit: HeaderListLimit::default(),
                too_many_pings: Arc::default(),
            },
            wait_for_ready: false,
            retry_buffer: 256 * 1024,
            methods: Methods::default(),
            retry_throttling: None,
            hedging_budget: HedgingBudget::default(),
            health_check: None,
            call_metrics: false,
        }
    }

    /// Starts the channel, which opens its connections with `connector`.
    pub(crate) fn start(self, connector: impl Connector) -> Result<Channel, BuildError> {
        let target = self.target?;
        self.methods.check()?;
        self.retry_throttling.as_ref().map_or(Ok(()), RetryThrottling::check)?;
        self.hedging_budget.check()?;
        self.backoff.check()?;
        if target.secure && connector.scheme() != Scheme::HTTPS {
            return Err(BuildError::Insecure(target.to_string()));
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let resolver = self.resolver.unwrap_or_else(|| match target.resolver_target.clone() {
            ResolverTarget::Dns { server, host, port } => {
                Box::new(PollingResolver::new(DnsLookup::new(server, host, port), self.refresh))
            }
            ResolverTarget::Fixed(addresses) => Box::new(StaticResolver(addresses)),
            #[cfg(feature = "kubernetes")]
            ResolverTarget::Kubernetes(service) => {
                Box::new(resolver::kubernetes::KubernetesResolver::new(service, self.kubernetes))
            }
        });
        // ERROR is the level that every filter of log lines enables.
        let span = tracing::error_span!("channel", channel = self.name.as_deref(), target = %target);
        let (updates, resolutions) = resolver::updates();
        let published = Arc::new(Published::new());
        let resolution = resolutions.latest.clone();
        let scheme = connector.scheme();
        let authority = self.authority.unwrap_or_else(|| target.authority().clone());
        let watches = !matches!(self.policy, Policy::PickFirst(_));
        let health_check = self.health_check.filter(|_| watches);
        let health_check = health_check.map(|name| Arc::new(HealthCheck::new(name, &scheme, &authority)));
        let metrics = Metrics::new(target.canonical(), self.policy.picking().name(), self.call_metrics);
        let balancer = BalancerConfig {
            connector: Arc::new(connector),
            http2: self.http2.clone(),
            backoff: self.backoff,
            policy: self.policy.build(&metrics.weights),
            outliers: self.outliers,
            health_check,
            published: published.clone(),
            connections: metrics.connections.clone(),
            ejections: metrics.ejections.clone(),
            locality: Locality::new(self.zone),
            resolutions,
        };
        let executor = CallExecutor {
            published,
            target: target.to_string(),
            scheme,
            authority,
            wait_for_ready: self.wait_for_ready,
            retry_buffer: self.retry_buffer,
            methods: self.methods,
            throttle: self.retry_throttling.map(|config| Arc::new(RetryThrottle::new(config))),
            hedge_budget: HedgeBudget::new(self.hedging_budget),
            retries: RetryCounters::default(),
            metrics,
        };
        let inner = Inner {
            executor,
            resolution,
            http2: self.http2,
            _balancer: AbortOnDropHandle::new(runtime.spawn(balancer.run().instrument(span.clone()))),
            _resolver: AbortOnDropHandle::new(
                runtime.spawn(resolver::run(resolver, updates).instrument(span)),
            ),
        };
        Ok(Channel { inner: Arc::new(inner) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn backoff_out_of_range_is_an_error() {
        for backoff in [
            BackoffPolicy { initial: Duration::MAX, ..BackoffPolicy::default() },
            BackoffPolicy { max: Duration::MAX, ..BackoffPolicy::default() },
            BackoffPolicy { multiplier: f64::NAN, ..BackoffPolicy::default() },
        ] {
            let built = Channel::builder("ipv4:127.0.0.1:1").backoff(backoff).build();
            assert!(matches!(built, Err(BuildError::Backoff(_))), "{built:?}");
        }
    }
}
