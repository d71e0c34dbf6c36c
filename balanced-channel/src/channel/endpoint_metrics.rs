//! Metrics of each endpoint, by name. No gRFC defines these; they show how many calls each pod gets.
//!
//! Only current endpoints have series. The series of an endpoint end when the endpoint is removed.

use std::sync::{Arc, atomic::Ordering::Acquire};

use crate::{
    metrics::Metric,
    subchannel::{Connectivity, Subchannel},
};

/// The maximum number of endpoints with series of their own: the first by address.
const MAX_NAMED_ENDPOINTS: usize = 100;

/// Returns the metrics of these subchannels.
pub(crate) fn read(subchannels: &[Arc<Subchannel>]) -> [Metric; 4] {
    let all = Metric::up_down_counter(
        "balanced_channel.endpoints",
        "{endpoint}",
        "Endpoints that the channel connects to. The first 100 by address have series of their own.",
    );
    let mut ready = Metric::up_down_counter(
        "balanced_channel.endpoint.ready",
        "{endpoint}",
        "Whether the endpoint takes calls.",
    );
    let mut in_flight = Metric::up_down_counter(
        "balanced_channel.endpoint.calls_in_flight",
        "{call}",
        "Attempts of calls at the endpoint whose response has not ended.",
    );
    let mut ended = Metric::counter(
        "balanced_channel.endpoint.calls",
        "{call}",
        "Attempts of calls at the endpoint that ended, by whether with status OK.",
    );
    for subchannel in subchannels.iter().take(MAX_NAMED_ENDPOINTS) {
        let Subchannel { endpoint, calls, .. } = &**subchannel;
        let status = subchannel.status();
        let address = endpoint.address.to_string();
        let name = status.name.as_deref().unwrap_or(&address).to_owned();
        let zone = status.zone.as_deref().unwrap_or_default().to_owned();
        // Two endpoints may have the same name, but never the same address.
        let labels = vec![("peer.name", name), ("peer.address", address), ("peer.zone", zone)];
        for (outcome, counter) in [("succeeded", &calls.succeeded), ("failed", &calls.failed)] {
            let outcome = ("outcome", outcome.to_owned());
            ended.push(labels.iter().cloned().chain([outcome]).collect(), counter.load(Acquire));
        }
        in_flight.push(labels.clone(), calls.in_flight());
        ready.push(labels, u64::from(status.state == Connectivity::Ready));
    }
    [all.with(subchannels.len() as u64), ready, in_flight, ended]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{outlier::ConsecutiveFailures, resolver::Endpoint};

    #[test]
    fn at_most_100_endpoints_have_series() {
        let subchannel = |number: u8| {
            let endpoint: Endpoint = SocketAddr::from(([10, 0, 0, number], 80)).into();
            // Pods in different namespaces may have the same name.
            Arc::new(Subchannel::new(
                endpoint.named("pod").in_zone("a"),
                ConsecutiveFailures::new(&crate::OutlierDetection::default(), Arc::default()),
            ))
        };
        let published: Vec<_> = (0..150).map(subchannel).collect();
        let [all, ready, in_flight, ended] = read(&published);
        assert_eq!(all.points[0].count(), Some(150));
        assert_eq!([&ready, &in_flight, &ended].map(|metric| metric.points.len()), [100, 100, 200]);
        let mut labels: Vec<_> = ended.points.iter().map(|point| &point.labels).collect();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), 200, "each series has its own labels");
    }
}
