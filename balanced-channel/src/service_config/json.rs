//! The structure of the JSON, and its conversion to the types of this crate.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    ServiceConfig, ServiceConfigError,
    policies::{PolicyListJson, PolicyNameJson},
    values::{Float, Int, Object, Seconds, StatusCode},
};
use crate::service_config::{
    HedgingBudget, HedgingPolicy, MethodConfig, MethodName, RetryPolicy, RetryThrottling,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceConfigJson {
    load_balancing_policy: Option<PolicyNameJson>,
    load_balancing_config: Option<PolicyListJson>,
    method_config: Option<Vec<Object<MethodConfigJson>>>,
    retry_throttling: Option<Object<RetryThrottlingJson>>,
    hedging_budget: Option<Object<HedgingBudgetJson>>,
    health_check_config: Option<Object<HealthCheckJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodConfigJson {
    name: Option<Vec<Object<MethodNameJson>>>,
    timeout: Option<Seconds>,
    wait_for_ready: Option<bool>,
    retry_policy: Option<Object<RetryPolicyJson>>,
    hedging_policy: Option<Object<HedgingPolicyJson>>,
    max_request_message_bytes: Option<IgnoredAny>,
    max_response_message_bytes: Option<IgnoredAny>,
}

/// The top level of a service config. Absent, null and empty fields mean the same.
#[derive(Deserialize)]
struct MethodNameJson {
    service: Option<String>,
    method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryPolicyJson {
    max_attempts: Int<2, { u32::MAX as u64 }>,
    initial_backoff: Seconds,
    max_backoff: Seconds,
    backoff_multiplier: Float,
    #[serde(default)]
    retryable_status_codes: Vec<StatusCode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HedgingPolicyJson {
    max_attempts: Int<2, { u32::MAX as u64 }>,
    hedging_delay: Option<Seconds>,
    #[serde(default)]
    non_fatal_status_codes: Vec<StatusCode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryThrottlingJson {
    max_tokens: Int<1, 1000>,
    token_ratio: Float,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HedgingBudgetJson {
    percent: Int<0, 100>,
    burst: Int<0, 100_000>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HealthCheckJson {
    service_name: Option<String>,
}

/// Parses a service config. An error names the field and the problem.
pub(super) fn read(text: &str) -> Result<ServiceConfig, ServiceConfigError> {
    let mut unknown = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let parsed =
        Object::<ServiceConfigJson>::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    let parsed = parsed.map_err(|error| {
        let path = track.path();
        ServiceConfigError::new(match path.iter().len() {
            0 => error.to_string(),
            _ => format!("{path}: {error}"),
        })
    })?;
    json.end().map_err(|error| ServiceConfigError::new(error.to_string()))?;
    Ok(ServiceConfig { unknown_fields: unknown, ..parsed.0.config()? })
}

// === impl ServiceConfigJson ===

impl ServiceConfigJson {
    fn config(self) -> Result<ServiceConfig, ServiceConfigError> {
        let (policy, outlier_detection) = match (self.load_balancing_config, self.load_balancing_policy) {
            (Some(PolicyListJson(choice)), _) | (None, Some(PolicyNameJson(choice))) => {
                (Some(choice.policy), choice.outlier_detection)
            }
            (None, None) => (None, None),
        };
        let mut methods = Vec::new();
        let mut names = HashSet::new();
        for (index, Object(method)) in self.method_config.unwrap_or_default().into_iter().enumerate() {
            let path = format!("methodConfig[{index}]");
            for (index, Object(name)) in method.name.iter().flatten().enumerate() {
                let path = format!("{path}.name[{index}]");
                let name = name.name().map_err(|problem| bad(&path, problem))?;
                if !names.insert(name.clone()) {
                    return Err(bad(&path, "is listed before; a name has one config"));
                }
                methods.push((name, method.config(&path)?));
            }
            // Checked even if the config applies to no method.
            method.config(&path)?;
        }
        let throttling = |Object(throttling): Object<RetryThrottlingJson>| {
            let throttling = RetryThrottling {
                max_tokens: throttling.max_tokens.u32(),
                token_ratio: throttling.token_ratio.0,
            };
            throttling.check().map_err(|error| bad(error.field, &error.problem))?;
            Ok(throttling)
        };
        Ok(ServiceConfig {
            policy,
            outlier_detection,
            methods,
            retry_throttling: self.retry_throttling.map(throttling).transpose()?,
            hedging_budget: self.hedging_budget.map(|Object(budget)| HedgingBudget {
                percent: budget.percent.u32(),
                burst: budget.burst.u32(),
            }),
            health_check_service: self.health_check_config.and_then(|Object(config)| config.service_name),
            unknown_fields: Vec::new(),
        })
    }
}

// === impl MethodConfigJson ===

impl MethodConfigJson {
    fn config(&self, path: &str) -> Result<MethodConfig, ServiceConfigError> {
        for (field, given, instead) in [
            ("maxRequestMessageBytes", &self.max_request_message_bytes, "set it at the tonic client"),
            ("maxResponseMessageBytes", &self.max_response_message_bytes, "set it at the tonic client"),
        ] {
            if given.is_some() {
                return Err(bad(&format!("{path}.{field}"), &format!("is not supported; {instead}")));
            }
        }
        let config = MethodConfig {
            timeout: self.timeout.map(|Seconds(timeout)| timeout),
            wait_for_ready: self.wait_for_ready,
            retry_policy: self.retry_policy.as_ref().map(|Object(retry)| retry.policy()),
            hedging_policy: self.hedging_policy.as_ref().map(|Object(hedging)| hedging.policy()),
        };
        config.check().map_err(|error| bad(&format!("{path}.{}", error.field), &error.problem))?;
        Ok(config)
    }
}

// === impl MethodNameJson ===

impl MethodNameJson {
    fn name(&self) -> Result<MethodName, &'static str> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(&self.service), given(&self.method)) {
            (None, None) => Ok(MethodName::Default),
            (Some(service), None) => Ok(MethodName::Service(service)),
            (Some(service), Some(method)) => Ok(MethodName::Method(service, method)),
            (None, Some(_)) => Err("has a method without its service"),
        }
    }
}

// === impl RetryPolicyJson ===

impl RetryPolicyJson {
    fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts.u32(),
            initial_backoff: self.initial_backoff.0,
            max_backoff: self.max_backoff.0,
            backoff_multiplier: self.backoff_multiplier.0,
            retryable_status_codes: self.retryable_status_codes.iter().map(|code| code.0).collect(),
        }
    }
}

// === impl HedgingPolicyJson ===

impl HedgingPolicyJson {
    /// Converts the policy. As in gRFC A6, an absent delay is 0, and without codes every failure is fatal.
    fn policy(&self) -> HedgingPolicy {
        HedgingPolicy {
            max_attempts: self.max_attempts.u32(),
            hedging_delay: self.hedging_delay.map_or(Duration::ZERO, |Seconds(delay)| delay),
            non_fatal_status_codes: self.non_fatal_status_codes.iter().map(|code| code.0).collect(),
        }
    }
}

fn bad(path: &str, problem: &str) -> ServiceConfigError {
    ServiceConfigError::new(format!("{path}: {problem}"))
}
