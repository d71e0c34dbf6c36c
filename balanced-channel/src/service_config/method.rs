//! The settings of methods: deadline, wait-for-ready, retry and hedging policy (service config, gRFC A6).
//!
//! These types are plain data. The service config fills them in, and the call path reads them.

use std::{collections::HashMap, time::Duration};

use super::{
    hedging::HedgingPolicy,
    retry::{RetryConfigError, RetryPolicy, bad},
};

/// The settings for calls to some methods. The default sets nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodConfig {
    /// The maximum duration of a call. A call with a shorter deadline of its own keeps that deadline.
    /// Default: no limit.
    pub timeout: Option<Duration>,
    /// True if calls wait for a connection even when every endpoint fails. Default: what
    /// [`Builder::wait_for_ready`](crate::Builder::wait_for_ready) sets.
    pub wait_for_ready: Option<bool>,
    /// The retry policy. Default: none; only calls that no server has processed are retried.
    pub retry_policy: Option<RetryPolicy>,
    /// The hedging policy, which excludes a retry policy. Default: none.
    pub hedging_policy: Option<HedgingPolicy>,
}

/// The configs of a channel's methods, found by a call's path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods {
    /// The config of all other methods.
    default: MethodConfig,
    /// The configs by `/package.Service/Method`, and by `/package.Service/` for a whole service.
    listed: HashMap<String, MethodConfig>,
}

/// The methods that a [`MethodConfig`] applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MethodName {
    /// All methods that no other name matches.
    Default,
    /// All methods of a service, such as `hello.Hello`.
    Service(String),
    /// One method of a service.
    Method(String, String),
}

// === impl Methods ===

impl Methods {
    /// Returns the config of methods that are not listed, for changes.
    pub(crate) fn default_mut(&mut self) -> &mut MethodConfig {
        &mut self.default
    }

    /// Sets the config of the methods that `name` selects.
    pub(crate) fn insert(&mut self, name: MethodName, config: MethodConfig) {
        let path = match name {
            MethodName::Default => {
                self.default = config;
                return;
            }
            MethodName::Service(service) => format!("/{service}/"),
            MethodName::Method(service, method) => format!("/{service}/{method}"),
        };
        self.listed.insert(path, config);
    }

    /// Returns the config for a call to `path`: that of the method, or else of the service, or else the default.
    pub(crate) fn find(&self, path: &str) -> &MethodConfig {
        if self.listed.is_empty() {
            return &self.default;
        }
        let service = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        self.listed.get(path).or_else(|| self.listed.get(service)).unwrap_or(&self.default)
    }

    /// Checks every config.
    pub(crate) fn check(&self) -> Result<(), RetryConfigError> {
        self.listed.values().chain([&self.default]).try_for_each(MethodConfig::check)
    }
}

// === impl MethodConfig ===

impl MethodConfig {
    /// Checks the policies against gRFC A6.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range. Having both policies is an error too.
    pub fn check(&self) -> Result<(), RetryConfigError> {
        if self.retry_policy.is_some() && self.hedging_policy.is_some() {
            return bad(
                "hedgingPolicy",
                "is combined with a retryPolicy; a method has one of them".to_owned(),
            );
        }
        self.retry_policy.as_ref().map_or(Ok(()), RetryPolicy::check)?;
        self.hedging_policy.as_ref().map_or(Ok(()), HedgingPolicy::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_specific_config_applies_without_merging() {
        let timeout =
            |seconds| MethodConfig { timeout: Some(Duration::from_secs(seconds)), ..MethodConfig::default() };
        let mut methods = Methods::default();
        methods.insert(MethodName::Default, timeout(1));
        methods.insert(MethodName::Service("p.S".into()), timeout(2));
        methods.insert(MethodName::Method("p.S".into(), "M".into()), timeout(3));
        for (path, seconds) in [("/p.S/M", 3), ("/p.S/N", 2), ("/p.T/M", 1), ("/p.S", 1), ("", 1), ("/", 1)] {
            assert_eq!(*methods.find(path), timeout(seconds), "{path}");
        }
    }
}
