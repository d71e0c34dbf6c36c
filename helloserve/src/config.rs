//! The gateway's own flags, and what makes a value of them unusable.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use balanced_channel::{ServiceConfig, Target};
use clap::{ArgAction, Args};
use url::Url;

use crate::{grpc_target::grpc_target, route_config::RouteConfigs};

/// The service config of the default channel: a call that failed with UNAVAILABLE is sent again, because a
/// greeting may be given twice; and so is one to which no response begins within a quarter of a second, because a
/// backend that is frozen or cut off never says that it failed. The bucket of tokens ends the retries when most calls fail, so that backends that
/// are down are not asked four times as often; 1000 is the most, and enough for a pod that is killed under load.
const RETRY_UNAVAILABLE: &str = r#"{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.02s","maxBackoff":"0.2s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"],"perAttemptRecvTimeout":"0.25s"}}],"retryThrottling":{"maxTokens":1000,"tokenRatio":0.1}}"#;

/// How the gateway is set up. Each flag can be given in the environment, under the name `--help` shows.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// gRPC backend, a target in gRPC's naming syntax: dns:///host:port, dns://server:port/host:port,
    /// ipv4:address:port,address:port and so on; or kubernetes:///service.namespace:port, whose EndpointSlices are
    /// watched (list and watch on endpointslices of discovery.k8s.io). There is no TLS: https:// is refused
    #[arg(long, env, value_name = "GRPC_TARGET", default_value = "dns:///grpc-svc:8000", value_parser = grpc_target)]
    pub grpc_target: Target,

    /// How calls to the gRPC backend are balanced and retried: gRPC's service config, in JSON. The default balances
    /// them by round_robin, and sends a call that failed with UNAVAILABLE, or was not answered within 250 ms, again, up
    /// to 3 times, as a greeting may be given twice: a pod that is killed or frozen costs no request. {} turns retries off
    #[arg(long, env, value_name = "GRPC_SERVICE_CONFIG", default_value = RETRY_UNAVAILABLE)]
    pub grpc_service_config: ServiceConfig,

    /// More ways to gRPC backends, which GET /hellogrpc?via=NAME takes and GET /routes lists: a JSON list of
    /// {"name": "…", "target": "…", "serviceConfig": {…}}. Each has connections of its own. What a route leaves out
    /// it has from GRPC_TARGET and GRPC_SERVICE_CONFIG
    #[arg(long, env, value_name = "GRPC_ROUTES", default_value = "[]")]
    pub grpc_routes: RouteConfigs,

    /// Measure the calls to gRPC backends by method and status, for /metrics on the admin port: gRPC's own
    /// grpc_client_* metrics (gRFC A66, A96). Connections, weights and ejections are always counted there
    #[arg(long, env, value_name = "GRPC_CALL_METRICS", default_value = "false", action = ArgAction::Set)]
    pub grpc_call_metrics: bool,

    /// Failure zone that the gateway is in, such as the label topology.kubernetes.io/zone of its pod: gRPC calls stay in
    /// it while that overloads nobody and some backend there takes calls. Only kubernetes:/// targets know the zones of
    /// backends. Empty: calls go to every zone
    #[arg(long, env, value_name = "ZONE", default_value = "")]
    pub zone: String,

    /// HTTP backend, an http:// URL; the query `name=` is added to it. There is no TLS: https:// is refused
    #[arg(long, env, value_name = "HTTP_TARGET", default_value = "http://http-svc/hellohttp", value_parser = http_target)]
    pub http_target: Url,

    /// DNS server that is asked for the HTTP backend's name, an address and port [default: the system's]
    #[arg(long, env, value_name = "HTTP_DNS_SERVER")]
    pub http_dns_server: Option<SocketAddr>,

    /// How long a backend may take to answer, from the request to the last byte; a shorter time in the request's
    /// grpc-timeout header wins
    #[arg(long, env, value_name = "UPSTREAM_TIMEOUT", default_value = "1s", value_parser = upstream_timeout)]
    pub upstream_timeout: Duration,

    /// Requests that may be in flight at once; more are answered 503 with Retry-After
    #[arg(long, env, value_name = "MAX_CONCURRENT_REQUESTS", default_value = "1024")]
    pub max_concurrent_requests: NonZeroUsize,
}

fn http_target(text: &str) -> Result<Url, String> {
    let mut url =
        Url::parse(text).map_err(|error| format!("{error}; give a URL like http://http-svc/hellohttp"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err("TLS to the HTTP backend is not built in; use http://, \
                        or put a proxy that speaks TLS beside the gateway"
                .to_owned());
        }
        other => return Err(format!("{other}:// is not spoken here; use http://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or password in the URL would show in error answers; leave it out".to_owned());
    }
    // A fragment is never sent to a server.
    url.set_fragment(None);
    Ok(url)
}

fn upstream_timeout(text: &str) -> Result<Duration, String> {
    match service::parse_duration(text)? {
        Duration::ZERO => Err("no backend answers in no time; give at least 1ms".to_owned()),
        timeout => Ok(timeout),
    }
}

// === impl Config ===

impl Default for Config {
    /// What the flags are when none is given.
    fn default() -> Self {
        service::defaults()
    }
}

#[cfg(test)]
mod tests {
    use balanced_channel::MethodName;

    use super::*;

    #[test]
    fn targets_that_cannot_work_are_refused_with_the_way_out() {
        for (target, word) in [
            ("https://svc/x", "http://"),
            ("ftp://svc/x", "http://"),
            ("http-svc", "URL like"),
            ("http://", "URL like"),
            ("http://svc:99999/", "URL like"),
            ("http://ann:secret@svc/", "leave it out"),
        ] {
            let error = http_target(target).unwrap_err();
            assert!(error.contains(word), "{target}: {error}");
        }
        assert_eq!(http_target("http://svc/a?b=c#d").unwrap().as_str(), "http://svc/a?b=c");
    }

    #[test]
    fn a_call_that_failed_with_unavailable_is_retried_by_default() {
        let config = Config::default().grpc_service_config;
        let [(MethodName::Default, method)] = &config.methods[..] else { panic!("{config:?}") };
        let policy = method.retry_policy.unwrap();
        assert!(
            policy.per_attempt_recv_timeout.unwrap() < Config::default().upstream_timeout / 2,
            "time for another"
        );
        let retried = policy.retryable_status_codes;
        assert_eq!(retried.iter().collect::<Vec<_>>(), [tonic::Code::Unavailable]);
    }

    #[test]
    fn a_timeout_has_a_unit_and_is_not_zero() {
        assert_eq!(upstream_timeout("250ms"), Ok(Duration::from_millis(250)));
        for text in ["0s", "1", "", "-1s", "soon"] {
            assert!(upstream_timeout(text).is_err(), "{text}");
        }
    }
}
