//! The balancer: the task that owns the subchannels.
//!
//! It compares the endpoints that its policy wants with its subchannels, starts and stops them, tracks their states,
//! and publishes a new picker whenever the READY subchannels change.
//!
//! An endpoint that the policy no longer selects is drained only once a selected one is READY. Until then calls keep
//! their endpoints: new pods may not be reachable yet, or the set may be empty.

mod entry;
mod locality;
mod published;
mod reconcile;

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use entry::SubchannelEntry;
pub(crate) use locality::Locality;
pub(crate) use published::{ChannelPicker, Published, Unavailable};
use reconcile::Balancer;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use crate::{
    backoff::BackoffPolicy,
    metrics::{ConnectionMetrics, EjectionMetrics},
    outlier::{Detector, OutlierDetection},
    policy::LbPolicy,
    resolver::Resolutions,
    subchannel::HealthCheck,
    transport::{Connector, Http2Config},
};

/// The time between two attempts to connect to all endpoints, and two requests to the resolver, while none is
/// available.
const NOTHING_READY_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration of the balancer's task, which ends when the channel is dropped.
pub(crate) struct BalancerConfig<C> {
    pub(crate) connector: Arc<C>,
    pub(crate) http2: Http2Config,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) policy: Box<dyn LbPolicy>,
    pub(crate) outliers: OutlierDetection,
    pub(crate) health_check: Option<Arc<HealthCheck>>,
    pub(crate) published: Arc<Published>,
    pub(crate) connections: Arc<ConnectionMetrics>,
    pub(crate) ejections: Arc<EjectionMetrics>,
    pub(crate) locality: Locality,
    pub(crate) resolutions: Resolutions,
}

// === impl BalancerConfig ===

impl<C: Connector> BalancerConfig<C> {
    pub(crate) async fn run(self) {
        let (events, mut inbox) = mpsc::unbounded_channel();
        let failures = Arc::new(Notify::new());
        let mut balancer = Balancer {
            detector: Detector::new(self.outliers, self.ejections.clone()),
            failures: failures.clone(),
            config: self,
            entries: BTreeMap::new(),
            resolved_endpoints: None,
            endpoints: Arc::default(),
            wanted: None,
            events,
            started: 0,
            last_failure: String::new(),
            picker_outdated: true,
        };
        let mut next_retry = Instant::now() + NOTHING_READY_RETRY_INTERVAL;
        let mut last_wake = None;
        loop {
            // Uses each wake time once: without READY subchannels, the policy does not compute a new one.
            let wake = balancer.config.policy.wake().filter(|wake| Some(*wake) != last_wake);
            let detector_wake =
                balancer.detector.wake(balancer.entries.values().map(|entry| &entry.ejection));
            tokio::select! {
                Ok(()) = balancer.config.resolutions.latest.changed() => balancer.handle_resolution(),
                Some(event) = inbox.recv() => {
                    balancer.handle_event(event);
                    // Many connections may change at once. One picker covers all pending events.
                    while let Ok(event) = inbox.try_recv() {
                        balancer.handle_event(event);
                    }
                }
                () = sleep_until(next_retry), if balancer.none_available() => {
                    balancer.reset_backoff();
                    balancer.update_locality(true);
                    // An attempt to connect to an address that drops packets has no result until it times out, and the
                    // service may have moved meanwhile.
                    balancer.config.resolutions.request_refresh.notify_one();
                    next_retry = Instant::now() + NOTHING_READY_RETRY_INTERVAL;
                }
                () = at(wake) => {
                    last_wake = wake;
                    balancer.picker_outdated = true;
                }
                () = failures.notified() => balancer.detect_outliers(),
                () = at(detector_wake) => balancer.detect_outliers(),
            }
            balancer.reconcile();
        }
    }
}

impl<C> Drop for BalancerConfig<C> {
    /// Publishes that no picker follows. The task ends with the channel, or with the runtime on which the channel was
    /// built. In the second case, calls from other runtimes must not wait for a picker.
    fn drop(&mut self) {
        self.published.close();
    }
}

/// Waits until `when`, or for ever if it is `None`.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
