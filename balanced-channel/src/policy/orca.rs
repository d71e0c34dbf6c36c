//! Load reports that backends send at the end of a call (ORCA, [gRFC A51]), and the weights that are computed from
//! them ([gRFC A58]).
//!
//! [gRFC A51]: https://github.com/grpc/proposal/blob/master/A51-custom-backend-metrics.md
//! [gRFC A58]: https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::GeneralPurpose};
use http::{HeaderMap, HeaderName};
use prost::Message;
use tokio::time::Instant;

use super::{DoneInfo, OnDone};

/// The trailer that carries a report.
const HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// The encoding of `-bin` headers: some peers write the padding and some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// The value that means "no report yet" in the times of [`OrcaWeight`].
const NEVER: u64 = u64::MAX;

/// Computes the weight of one connection from its load reports. Calls record reports and the policy reads the weight,
/// both without a lock.
#[derive(Debug)]
pub(super) struct OrcaWeight {
    error_penalty: f64,
    /// The instant from which the times below are measured.
    born: Instant,
    /// The bits of the latest weight.
    weight: AtomicU64,
    /// The time of the latest report, in nanoseconds.
    updated: AtomicU64,
    /// The time of the first report since the last long break.
    since: AtomicU64,
}

/// The weight of one connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weight {
    Known(f64),
    /// No report has arrived, or the first one arrived less than the blackout period ago.
    NotYet,
    /// The latest report is older than the expiration period.
    Stale,
}

/// The fields of `xds.data.orca.v3.OrcaLoadReport` that a weight is computed from.
#[derive(Clone, PartialEq, Message)]
struct OrcaLoadReport {
    /// The CPU utilization as a fraction; above 1 if the backend uses more than its share.
    #[prost(double, tag = "1")]
    cpu_utilization: f64,
    /// Calls per second.
    #[prost(double, tag = "6")]
    rps_fractional: f64,
    /// Failed calls per second.
    #[prost(double, tag = "7")]
    eps: f64,
    /// The utilization that the application reports; takes precedence over that of the CPU.
    #[prost(double, tag = "9")]
    application_utilization: f64,
}

// === impl OrcaWeight ===

impl OnDone for OrcaWeight {
    fn on_done(&self, info: &DoneInfo<'_>) {
        if let Some(trailers) = info.trailers {
            self.record(trailers);
        }
    }
}

impl OrcaWeight {
    /// Creates a weight without reports. The share of failed calls, times `error_penalty`, adds to the utilization.
    pub(super) fn new(error_penalty: f64) -> Self {
        Self {
            error_penalty,
            born: Instant::now(),
            weight: AtomicU64::new(0),
            updated: AtomicU64::new(NEVER),
            since: AtomicU64::new(NEVER),
        }
    }

    /// Records the report in a call's trailers, if there is one with a weight.
    fn record(&self, trailers: &HeaderMap) {
        let weight = trailers
            .get(HEADER)
            .and_then(|value| BASE64.decode(value.as_bytes()).ok())
            .and_then(|bytes| OrcaLoadReport::decode(&*bytes).ok())
            .and_then(|report| report.weight(self.error_penalty));
        let Some(weight) = weight else { return };
        let now = self.now();
        self.weight.store(weight.to_bits(), Ordering::Relaxed);
        self.updated.store(now, Ordering::Relaxed);
        // Keeps the time of the first report: if the exchange fails, another call has recorded it.
        let _ = self.since.compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns the weight, which is known if reports have arrived for longer than `blackout` and the latest is not
    /// older than `expiration`.
    pub(super) fn weight(&self, blackout: Duration, expiration: Duration) -> Weight {
        let now = self.now();
        let age = |at: &AtomicU64| match at.load(Ordering::Relaxed) {
            NEVER => None,
            at => Some(Duration::from_nanos(now.saturating_sub(at))),
        };
        match (age(&self.updated), age(&self.since)) {
            (Some(age), _) if age >= expiration => {
                self.since.store(NEVER, Ordering::Relaxed);
                Weight::Stale
            }
            (Some(_), Some(age)) if age >= blackout => {
                Weight::Known(f64::from_bits(self.weight.load(Ordering::Relaxed)))
            }
            _ => Weight::NotYet,
        }
    }

    fn now(&self) -> u64 {
        // A `u64` holds 584 years in nanoseconds.
        self.born.elapsed().as_nanos() as u64
    }
}

// === impl Weight ===

impl Weight {
    pub(crate) fn known(&self) -> Option<f64> {
        match self {
            Self::Known(weight) => Some(*weight),
            Self::NotYet | Self::Stale => None,
        }
    }
}

// === impl OrcaLoadReport ===

impl OrcaLoadReport {
    /// Returns the calls per second divided by the utilization.
    fn weight(&self, error_penalty: f64) -> Option<f64> {
        let utilization = if self.application_utilization > 0.0 {
            self.application_utilization
        } else {
            self.cpu_utilization
        };
        if !(self.rps_fractional > 0.0 && utilization > 0.0) {
            return None;
        }
        let errors = self.eps.max(0.0) / self.rps_fractional * error_penalty;
        let weight = self.rps_fractional / (utilization + errors);
        (weight.is_finite() && weight > 0.0).then_some(weight)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use tokio::time::advance;

    use super::*;

    const BLACKOUT: Duration = Duration::from_secs(10);
    const EXPIRATION: Duration = Duration::from_secs(180);

    fn report(qps: f64, cpu: f64, application: f64, eps: f64) -> OrcaLoadReport {
        OrcaLoadReport {
            cpu_utilization: cpu,
            rps_fractional: qps,
            eps,
            application_utilization: application,
        }
    }

    fn trailers(encoded: String) -> HeaderMap {
        [(HEADER, encoded.try_into().unwrap())].into_iter().collect()
    }

    #[test]
    fn weight_is_calls_divided_by_utilization() {
        assert_eq!(report(100.0, 0.5, 0.0, 0.0).weight(1.0), Some(200.0));
        assert_eq!(report(100.0, 0.5, 0.25, 0.0).weight(1.0), Some(400.0), "the application knows better");
        assert_eq!(report(100.0, 0.5, 0.0, 50.0).weight(1.0), Some(100.0), "errors count");
        assert_eq!(report(100.0, 0.5, 0.0, 50.0).weight(0.0), Some(200.0));
        for nothing in [(0.0, 0.5), (100.0, 0.0), (f64::NAN, 0.5), (100.0, f64::NAN), (-1.0, 0.5)] {
            assert_eq!(report(nothing.0, nothing.1, 0.0, 0.0).weight(1.0), None, "{nothing:?}");
        }
        assert_eq!(report(f64::MAX, f64::MIN_POSITIVE, 0.0, 0.0).weight(1.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn weight_is_known_from_the_blackout_to_the_expiration() {
        let weight = OrcaWeight::new(1.0);
        assert_eq!(weight.weight(BLACKOUT, EXPIRATION), Weight::NotYet);
        let bytes = report(100.0, 0.5, 0.0, 0.0).encode_to_vec();
        for encoded in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes)] {
            weight.record(&trailers(encoded));
            assert_eq!(weight.weight(BLACKOUT, EXPIRATION), Weight::NotYet);
            advance(BLACKOUT).await;
            assert_eq!(weight.weight(BLACKOUT, EXPIRATION), Weight::Known(200.0));
            advance(EXPIRATION - BLACKOUT).await;
            assert_eq!(
                weight.weight(BLACKOUT, EXPIRATION),
                Weight::Stale,
                "expired, and the blackout starts again"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_report_is_ignored() {
        let weight = OrcaWeight::new(1.0);
        for encoded in ["", "!", "AAAA", "/////w"] {
            weight.record(&trailers(encoded.to_owned()));
        }
        weight.record(&HeaderMap::new());
        assert_eq!(weight.weight(Duration::ZERO, EXPIRATION), Weight::NotYet);
    }

    #[test]
    fn report_of_another_implementation_is_read() {
        // cpu_utilization 0.5, rps 7 (deprecated), a utilization map entry, rps_fractional 2.
        let bytes = [
            &[0x09][..],
            &0.5_f64.to_le_bytes(),
            &[0x18, 7, 0x2a, 3, 0x0a, 1, b'x', 0x31],
            &2.0_f64.to_le_bytes(),
        ]
        .concat();
        assert_eq!(OrcaLoadReport::decode(&*bytes).unwrap().weight(1.0), Some(4.0));
    }
}
