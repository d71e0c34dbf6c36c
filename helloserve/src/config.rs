//! The gateway's flags and their validation.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use balanced_channel::{ServiceConfig, Target};
use clap::{ArgAction, Args};
use service::http::ConnectionConfig;
use url::Url;

use crate::{grpc_target::grpc_target, route_config::RouteConfigs};

/// The default service config. A greeting is idempotent, so its call is hedged: sent to another backend at once when it
/// fails with UNAVAILABLE, and also when no response starts within 250 ms, because a frozen or unreachable backend never
/// reports a failure. When all backends are slow, the channel's hedging budget limits the additional calls to a few
/// percent. The token bucket stops further attempts when most calls fail, so that failing backends do not get four times
/// the load; 1000 tokens, the maximum, are enough for a pod that is killed under load.
const HEDGING: &str = r#"{"methodConfig":[{"name":[{}],"hedgingPolicy":{"maxAttempts":4,"hedgingDelay":"0.25s","nonFatalStatusCodes":["UNAVAILABLE"]}}],"retryThrottling":{"maxTokens":1000,"tokenRatio":0.1}}"#;

/// The gateway's configuration. Each flag can also be set in the environment, under the name that `--help` shows.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Limits of client connections.
    #[command(flatten)]
    pub connections: ConnectionConfig,

    /// gRPC backend, a target in gRPC's naming syntax: dns:///host:port, dns://server:port/host:port,
    /// ipv4:address:port,address:port and so on; or kubernetes:///service.namespace:port, which watches the Service's
    /// EndpointSlices and needs a Role with list and watch on endpointslices of discovery.k8s.io. TLS (https://) is not
    /// supported
    #[arg(long, env, value_name = "GRPC_TARGET", default_value = "dns:///grpc-svc:8000", value_parser = grpc_target)]
    pub grpc_target: Target,

    /// Load balancing, retries and hedging of calls to the gRPC backend: gRPC's service config, in JSON. The default
    /// balances by round_robin and makes up to 3 more attempts at other backends: at once when an attempt fails with
    /// UNAVAILABLE, and in parallel when an attempt has no response within 250 ms. {} turns further attempts off
    #[arg(long, env, value_name = "GRPC_SERVICE_CONFIG", default_value = HEDGING)]
    pub grpc_service_config: ServiceConfig,

    /// More routes to gRPC backends, selected by GET /hellogrpc?via=NAME and listed by GET /routes: a JSON list of
    /// {"name": "…", "target": "…", "serviceConfig": {…}}. Each has its own connections. target and serviceConfig
    /// default to GRPC_TARGET and GRPC_SERVICE_CONFIG
    #[arg(long, env, value_name = "GRPC_ROUTES", default_value = "[]")]
    pub grpc_routes: RouteConfigs,

    /// Let callers select a route with ?via= and list the routes at /routes. With false, ?via= is ignored and /routes is
    /// 404, so that callers cannot send all of their requests to one backend
    #[arg(long, env, value_name = "ROUTE_SELECTION", default_value = "true", action = ArgAction::Set)]
    pub route_selection: bool,

    /// Record metrics of each gRPC call by method and status, for /metrics on the admin port: gRPC's own
    /// grpc_client_* metrics (gRFC A66, A96). Metrics of connections, weights and ejections are always recorded
    #[arg(long, env, value_name = "GRPC_CALL_METRICS", default_value = "false", action = ArgAction::Set)]
    pub grpc_call_metrics: bool,

    /// Zone of the gateway, e.g. the label topology.kubernetes.io/zone of its node. gRPC calls stay in the zone as long as
    /// its backends are available and that does not overload them. Only kubernetes:/// targets know the zones of backends.
    /// Empty: calls go to all zones
    #[arg(long, env, value_name = "ZONE", default_value = "")]
    pub zone: String,

    /// HTTP backend, an http:// URL; the query `name=` is added to it. TLS (https://) is not supported
    #[arg(long, env, value_name = "HTTP_TARGET", default_value = "http://http-svc/hellohttp", value_parser = http_target)]
    pub http_target: Url,

    /// DNS server for the HTTP backend's name, an address and port [default: the system's]
    #[arg(long, env, value_name = "HTTP_DNS_SERVER")]
    pub http_dns_server: Option<SocketAddr>,

    /// Time that a backend has for a request, from the first connection attempt to the last byte of the response. A
    /// shorter grpc-timeout header wins
    #[arg(long, env, value_name = "UPSTREAM_TIMEOUT", default_value = "1s", value_parser = positive_duration)]
    pub upstream_timeout: Duration,

    /// Time after the start for which the gateway is not ready while it has never reached its gRPC backend (the default
    /// route) or its HTTP backend. A rollout with a wrong target stops there. Once ready, the gateway stays ready
    #[arg(long, env, value_name = "STARTUP_TIMEOUT", default_value = "5m", value_parser = service::parse_duration)]
    pub startup_timeout: Duration,

    /// Maximum number of requests in flight, up to the end of their responses. Further requests get 503 with
    /// Retry-After. Half of it is divided equally among MAX_CONNECTIONS, so that no client takes all of it
    #[arg(long, env, value_name = "MAX_CONCURRENT_REQUESTS", default_value = "1024")]
    pub max_concurrent_requests: NonZeroUsize,
}

/// Parses an `http://` URL without credentials.
fn http_target(text: &str) -> Result<Url, String> {
    let mut url =
        Url::parse(text).map_err(|error| format!("{error}; use a URL like http://http-svc/hellohttp"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err("TLS to the HTTP backend is not supported; use http://, \
                        or a proxy beside the gateway that adds TLS"
                .to_owned());
        }
        other => return Err(format!("scheme {other}:// is not supported; use http://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials in the URL are not supported; remove them".to_owned());
    }
    // A fragment is never sent to a server.
    url.set_fragment(None);
    Ok(url)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match service::parse_duration(text)? {
        Duration::ZERO => Err("must be at least 1ms".to_owned()),
        duration => Ok(duration),
    }
}

// === impl Config ===

impl Default for Config {
    /// Returns the defaults of all flags.
    fn default() -> Self {
        service::defaults()
    }
}

#[cfg(test)]
mod tests {
    use balanced_channel::MethodName;

    use super::*;

    #[test]
    fn unusable_http_target_is_an_error_with_a_remedy() {
        for (target, word) in [
            ("https://svc/x", "http://"),
            ("ftp://svc/x", "http://"),
            ("http-svc", "use a URL like"),
            ("http://", "use a URL like"),
            ("http://svc:99999/", "use a URL like"),
            ("http://ann:secret@svc/", "remove them"),
        ] {
            let error = http_target(target).unwrap_err();
            assert!(error.contains(word), "{target}: {error}");
        }
        assert_eq!(http_target("http://svc/a?b=c#d").unwrap().as_str(), "http://svc/a?b=c");
    }

    #[test]
    fn default_service_config_hedges_unavailable_and_slow_calls() {
        let config = Config::default().grpc_service_config;
        let [(MethodName::Default, method)] = &config.methods[..] else { panic!("{config:?}") };
        let policy = method.hedging_policy.unwrap();
        assert!(policy.hedging_delay < Config::default().upstream_timeout / 2, "time for another attempt");
        let non_fatal = policy.non_fatal_status_codes;
        assert_eq!(non_fatal.iter().collect::<Vec<_>>(), [tonic::Code::Unavailable]);
    }

    #[test]
    fn zero_or_malformed_duration_is_an_error() {
        assert_eq!(positive_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["0s", "1", "", "-1s", "soon"] {
            assert!(positive_duration(text).is_err(), "{text}");
        }
    }
}
