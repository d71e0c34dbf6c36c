//! The JSON of outlier detection, which gRFC A50 defines as a policy with a child policy.

use serde::Deserialize;

use super::values::{Int, Object, Percent, PositiveSeconds, Seconds, UInt32};
use crate::outlier::{FailurePercentage, OutlierDetection, SuccessRate};

/// The config of outlier detection, and its child policy `P`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutlierDetectionJson<P> {
    interval: Option<PositiveSeconds>,
    base_ejection_time: Option<Seconds>,
    max_ejection_time: Option<Seconds>,
    max_ejection_percent: Option<Percent>,
    /// An extension to A50.
    consecutive_failures: Option<UInt32>,
    /// An extension to A50.
    min_attempt_time: Option<Seconds>,
    success_rate_ejection: Option<Object<SuccessRateJson>>,
    failure_percentage_ejection: Option<Object<FailurePercentageJson>>,
    pub(super) child_policy: P,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SuccessRateJson {
    stdev_factor: Option<UInt32>,
    enforcement_percentage: Option<Percent>,
    minimum_hosts: Option<UInt32>,
    request_volume: Option<UInt32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailurePercentageJson {
    threshold: Option<Percent>,
    enforcement_percentage: Option<Percent>,
    minimum_hosts: Option<UInt32>,
    request_volume: Option<UInt32>,
}

impl<P> OutlierDetectionJson<P> {
    pub(super) fn config(&self) -> OutlierDetection {
        let default = OutlierDetection::default();
        let base_ejection_time = self.base_ejection_time.map_or(default.base_ejection_time, |base| base.0);
        OutlierDetection {
            interval: self.interval.map_or(default.interval, |interval| interval.0),
            base_ejection_time,
            max_ejection_time: self
                .max_ejection_time
                .map_or(default.max_ejection_time.max(base_ejection_time), |max| max.0),
            max_ejection_percent: self.max_ejection_percent.map_or(default.max_ejection_percent, Int::u32),
            consecutive_failures: self.consecutive_failures.map_or(default.consecutive_failures, Int::u32),
            min_attempt_time: self.min_attempt_time.map_or(default.min_attempt_time, |time| time.0),
            success_rate: self.success_rate_ejection.as_ref().map(|Object(rules)| rules.config()),
            failure_percentage: self.failure_percentage_ejection.as_ref().map(|Object(rules)| rules.config()),
        }
    }
}

impl SuccessRateJson {
    fn config(&self) -> SuccessRate {
        let default = SuccessRate::default();
        SuccessRate {
            stdev_factor: self.stdev_factor.map_or(default.stdev_factor, Int::u32),
            enforcement_percentage: self
                .enforcement_percentage
                .map_or(default.enforcement_percentage, Int::u32),
            minimum_hosts: self.minimum_hosts.map_or(default.minimum_hosts, Int::u32),
            request_volume: self.request_volume.map_or(default.request_volume, Int::u32),
        }
    }
}

impl FailurePercentageJson {
    fn config(&self) -> FailurePercentage {
        let default = FailurePercentage::default();
        FailurePercentage {
            threshold: self.threshold.map_or(default.threshold, Int::u32),
            enforcement_percentage: self
                .enforcement_percentage
                .map_or(default.enforcement_percentage, Int::u32),
            minimum_hosts: self.minimum_hosts.map_or(default.minimum_hosts, Int::u32),
            request_volume: self.request_volume.map_or(default.request_volume, Int::u32),
        }
    }
}
