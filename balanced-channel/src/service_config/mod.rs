//! The service config of gRPC, in JSON or in Rust.
//!
//! - `json`: the structure of the JSON, and its conversion to the types of this crate.
//! - `policies`: the list of load-balancing policies; the first known one is used.
//!   `policy` and `outliers`: the configs of the policies.
//! - `values`: numbers, durations and status codes in protobuf's JSON encoding.

mod hedging;
mod json;
mod method;
mod outliers;
mod policies;
mod policy;
mod retry;
mod values;

use std::str::FromStr;

pub use hedging::{HedgingBudget, HedgingPolicy};
pub(crate) use method::Methods;
pub use method::{MethodConfig, MethodName};
pub use retry::{RetryConfigError, RetryPolicy, RetryThrottling, StatusCodes};

use crate::{outlier::OutlierDetection, policy::Policy};

/// The settings that the owner of a service gives to its clients ([service config], gRFC A2 and A21).
///
/// ```
/// use balanced_channel::{Channel, ServiceConfig};
///
/// let config: ServiceConfig = r#"{
///     "loadBalancingConfig": [{"least_request_experimental": {"choiceCount": 3}}],
///     "methodConfig": [
///         {"name": [{}], "timeout": "2.5s"},
///         {
///             "name": [{"service": "hello.Hello"}],
///             "timeout": "1s",
///             "retryPolicy": {
///                 "maxAttempts": 3,
///                 "initialBackoff": "0.05s",
///                 "maxBackoff": "1s",
///                 "backoffMultiplier": 2,
///                 "retryableStatusCodes": ["UNAVAILABLE"]
///             }
///         }
///     ],
///     "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
/// }"#
/// .parse()?;
/// let builder = Channel::builder("dns:///grpc-svc:8000").service_config(config);
/// # Ok::<(), balanced_channel::ServiceConfigError>(())
/// ```
///
/// # The JSON
///
/// | field | value |
/// | --- | --- |
/// | `loadBalancingConfig` | a list of policies; the first known one is used. Absent: the builder's, `round_robin` unless set (in other gRPC clients it is `pick_first`) |
/// | `loadBalancingPolicy` | the name of a policy, for configs without the list (deprecated) |
/// | `methodConfig` | a list of `name`s with their settings: `timeout`, `waitForReady`, `retryPolicy` or `hedgingPolicy` (gRFC A6) |
/// | `retryThrottling` | `maxTokens`, `tokenRatio` (gRFC A6) |
/// | `hedgingBudget` | `percent`, `burst` (not in gRPC, see [`HedgingBudget`]) |
/// | `healthCheckConfig` | `serviceName` (gRFC A17) |
///
/// | policy | fields | source |
/// | --- | --- | --- |
/// | `round_robin` | | |
/// | `pick_first` | `shuffleAddressList` | gRFC A62 |
/// | `least_request_experimental` | `choiceCount`; `slowStartConfig` (not in gRPC) | gRFC A48 |
/// | `weighted_round_robin` | `blackoutPeriod`, `weightExpirationPeriod`, `weightUpdatePeriod`, `errorUtilizationPenalty`, `slowStartConfig`: `slowStartWindow`, `aggression`, `minWeightPercent` | gRFC A58, A100 |
/// | `ring_hash_experimental` | `requestHashHeader` (required), `minRingSize`, `maxRingSize` | gRFC A42, A76 |
/// | `random_subsetting_experimental` | `subsetSize`, `childPolicy` (both required) | gRFC A68 |
/// | `outlier_detection_experimental` | the fields of [`OutlierDetection`], `childPolicy` (required) | gRFC A50 |
///
/// The suffix `_experimental` may be omitted. Unknown fields have no effect, as everywhere in gRPC; a channel that is
/// built with the config logs each as a warning. Fields of gRPC that this channel does not support, such as
/// `maxRequestMessageBytes`, are errors.
///
/// [service config]: https://github.com/grpc/grpc/blob/master/doc/service_config.md
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// The load-balancing policy.
    pub policy: Option<Policy>,
    /// The settings of outlier detection.
    pub outlier_detection: Option<OutlierDetection>,
    /// The settings by method name. Only the config with the most specific name applies; configs are not merged.
    pub methods: Vec<(MethodName, MethodConfig)>,
    /// The settings of retry throttling.
    pub retry_throttling: Option<RetryThrottling>,
    /// The limit on hedges because of slow attempts.
    pub hedging_budget: Option<HedgingBudget>,
    /// The service whose health is watched on each connection; empty for the server as a whole.
    pub health_check_service: Option<String>,
    /// The paths of fields that have no effect. They are logged when a channel is built, because a program may parse
    /// its config before it has set up logging.
    pub(crate) unknown_fields: Vec<String>,
}

/// A service config is invalid. The error names the field, such as
/// `methodConfig[0].retryPolicy.maxAttempts`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service config is invalid: {message}")]
pub struct ServiceConfigError {
    message: String,
}

// === impl ServiceConfig ===

impl FromStr for ServiceConfig {
    type Err = ServiceConfigError;

    /// Parses the JSON of gRPC.
    ///
    /// # Errors
    ///
    /// If the text is not JSON, a value is out of its range, or no policy is known.
    fn from_str(json: &str) -> Result<Self, ServiceConfigError> {
        json::read(json)
    }
}

impl ServiceConfig {
    /// Sets the load-balancing policy.
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.policy = Some(policy.into());
        self
    }

    /// Sets the rules by which endpoints are ejected.
    pub fn outlier_detection(mut self, outliers: OutlierDetection) -> Self {
        self.outlier_detection = Some(outliers);
        self
    }

    /// Applies `config` to the methods that `name` matches, unless a more specific name matches too.
    pub fn method(mut self, name: MethodName, config: MethodConfig) -> Self {
        self.methods.push((name, config));
        self
    }

    /// Sets the retry throttling.
    pub fn retry_throttling(mut self, throttling: RetryThrottling) -> Self {
        self.retry_throttling = Some(throttling);
        self
    }

    /// Sets the limit on hedges because of slow attempts.
    pub fn hedging_budget(mut self, budget: HedgingBudget) -> Self {
        self.hedging_budget = Some(budget);
        self
    }

    /// Watches the health of this service on each connection; empty for the server as a whole.
    pub fn health_check_service(mut self, service: impl Into<String>) -> Self {
        self.health_check_service = Some(service.into());
        self
    }
}

// === impl ServiceConfigError ===

impl ServiceConfigError {
    fn new(message: String) -> Self {
        Self { message }
    }
}

#[cfg(test)]
mod tests;
