//! Outlier detection: ejects endpoints that are connected but fail calls.
//!
//! [gRFC A50] compares endpoints with each other at every interval. Consecutive failures, which Envoy has and A50
//! omits, need no comparison and no interval: an endpoint that dies without closing its connection is ejected after a
//! few failed calls.
//!
//! [gRFC A50]: https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md

mod consecutive_failures;
mod detector;

use std::time::Duration;

pub(crate) use consecutive_failures::{CallOutcome, ConsecutiveFailures};
pub(crate) use detector::{Detector, DetectorEndpoint, EjectionState};

/// Ejects endpoints that fail their calls ([gRFC A50]).
///
/// An ejected endpoint stays connected and takes no calls. When every READY endpoint is ejected,
/// calls go to all of them. An endpoint that reconnects is reinstated at once, unlike in A50: the address may have a
/// new process, and if not, the next failures eject it for longer.
///
/// The rules differ in the failures that they count. `success_rate` and `failure_percentage` count every status but OK.
/// `consecutive_failures` counts only failures of the endpoint rather than of the request: UNAVAILABLE, and a call that
/// ends without a complete message, by its deadline or by an end of the stream without a status. Any other response
/// resets the count. A stream that breaks off after its second message neither counts nor resets. The same applies to
/// a lost connection, since an endpoint without a connection takes no calls.
///
/// No rule counts a call that its caller cancels, a deadline that leaves the endpoint less than `min_attempt_time`, a
/// call that was not sent, or an attempt that is cancelled because a hedge succeeded.
///
/// [gRFC A50]: https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// The interval at which success rates and failure percentages are compared. Default: 10 s.
    pub interval: Duration,
    /// The duration of the first ejection. The second in a row lasts twice as long, and so on; each interval without an
    /// ejection reduces the count by one. Default: 30 s.
    pub base_ejection_time: Duration,
    /// The maximum duration of an ejection; never shorter than `base_ejection_time`. Default: 300 s.
    pub max_ejection_time: Duration,
    /// The maximum percentage of endpoints that are ejected at a time, 0 to 100. Unless it is 0, one endpoint may
    /// always be ejected. Default: 10.
    pub max_ejection_percent: u32,
    /// The number of failed calls in a row that eject an endpoint at once. 0 turns this off. Default: 5. Not in A50.
    pub consecutive_failures: u32,
    /// The time since the request was sent that an endpoint must have had for a missed deadline to count as its
    /// failure. Default: 1 s. Not in A50.
    pub min_attempt_time: Duration,
    /// Ejects endpoints that succeed much less often than the others. Default: off.
    pub success_rate: Option<SuccessRate>,
    /// Ejects endpoints that fail more than a fixed part of their calls. Default: off.
    pub failure_percentage: Option<FailurePercentage>,
}

/// Ejects endpoints whose success rate is far below the mean of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// The distance from the mean, in thousandths of the standard deviation. Default: 1900.
    pub stdev_factor: u32,
    /// The chance that an outlier is ejected, in percent. Default: 100.
    pub enforcement_percentage: u32,
    /// The number of endpoints that must have had `request_volume` calls for any to be ejected. Default: 5.
    pub minimum_hosts: u32,
    /// The number of calls that must have ended in an interval for an endpoint to count. Default: 100.
    pub request_volume: u32,
}

/// Ejects endpoints that fail more than a fixed part of their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// The percentage of failed calls above which an endpoint is an outlier. Default: 85.
    pub threshold: u32,
    /// The chance that an outlier is ejected, in percent. Default: 100.
    pub enforcement_percentage: u32,
    /// The number of endpoints that must have had `request_volume` calls for any to be ejected. Default: 5.
    pub minimum_hosts: u32,
    /// The number of calls that must have ended in an interval for an endpoint to count. Default: 50.
    pub request_volume: u32,
}

// === impl OutlierDetection ===

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            consecutive_failures: 5,
            min_attempt_time: Duration::from_secs(1),
            success_rate: None,
            failure_percentage: None,
        }
    }
}

impl OutlierDetection {
    /// Creates settings that eject no endpoint.
    pub fn off() -> Self {
        Self { consecutive_failures: 0, ..Self::default() }
    }
}

// === impl SuccessRate ===

impl Default for SuccessRate {
    fn default() -> Self {
        Self { stdev_factor: 1900, enforcement_percentage: 100, minimum_hosts: 5, request_volume: 100 }
    }
}

// === impl FailurePercentage ===

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { threshold: 85, enforcement_percentage: 100, minimum_hosts: 5, request_volume: 50 }
    }
}

#[cfg(test)]
mod tests;
