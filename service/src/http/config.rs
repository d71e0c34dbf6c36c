//! The flags of a server's connections.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Args, value_parser};

use crate::parse_duration;

/// Limits on the connections of a server. Each can also be set in the environment, under the name that `--help` shows.
///
/// | limit | flag | default | metric | worst case in memory |
/// | --- | --- | --- | --- | --- |
/// | open connections | `--max-connections` | 512 | `server_connections_refused_total` | 16 MiB: 512 of 32 KiB with buffers |
/// | head of a request | `--max-header-list-size` | 16 KiB | `server_connections_closed_total{reason="parse"}` | 8 MiB: one per connection |
/// | streams per HTTP/2 connection | `--max-concurrent-streams` | 100 | – (clients wait) | in the calls in flight |
/// | first bytes of a connection | – | 10 s | `server_connections_closed_total{reason="opening"}` | – |
/// | unread response | – | 30 s, 5 s while draining | `server_connections_closed_total{reason="stalled"}` | 16 KiB per response |
/// | age, grace | `--max-connection-age`, `-grace` | 0s, 30s | `server_connections_closed_total{reason="grace"}` | – |
/// | idle time over HTTP/2 | `--max-connection-idle` | 15m | `server_connections_closed_total{reason="idle"}` | – |
/// | open files | the system's hard limit | – | `process_max_fds` | – |
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct ConnectionConfig {
    /// Maximum number of open connections. A request on a further connection gets 503 with Retry-After, or UNAVAILABLE
    /// over gRPC. A low limit on open files (ulimit -n) lowers it
    #[arg(long, env, value_name = "MAX_CONNECTIONS", default_value = "512")]
    pub max_connections: NonZeroUsize,

    /// Age at which the server ends a connection, plus or minus 10 %, so that its client connects again: by GOAWAY, or
    /// by `connection: close` on the next response over HTTP/1; later while MAX_CONNECTIONS are open. 0s means no limit.
    /// gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE", default_value = "0s", value_parser = parse_duration)]
    pub max_connection_age: Duration,

    /// Time that requests in flight have to end after that before the connection is closed. 0s means no limit. gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE_GRACE", default_value = "30s", value_parser = parse_duration)]
    pub max_connection_age_grace: Duration,

    /// Time without a request after which an HTTP/2 connection gets a GOAWAY. 0s means no limit. gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_IDLE", default_value = "15m", value_parser = parse_duration)]
    pub max_connection_idle: Duration,

    /// Time without a frame from the client after which the server sends a PING on an HTTP/2 connection. 0s turns PINGs
    /// off
    #[arg(long, env, value_name = "KEEPALIVE_TIME", default_value = "1m", value_parser = parse_duration)]
    pub keepalive_time: Duration,

    /// Time that the client has to answer that PING before the connection is closed
    #[arg(long, env, value_name = "KEEPALIVE_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub keepalive_timeout: Duration,

    /// Maximum number of open requests on one HTTP/2 connection; clients hold further requests back. With less than 100,
    /// requests that some clients send before they know the limit are refused
    #[arg(long, env, value_name = "MAX_CONCURRENT_STREAMS", default_value = "100", value_parser = value_parser!(u32).range(1..))]
    pub max_concurrent_streams: u32,

    /// Maximum size of a request's head in bytes. Over HTTP/2 it is counted as in RFC 9113: the name and value of each
    /// header plus 32 bytes
    #[arg(long, env, value_name = "MAX_HEADER_LIST_SIZE", default_value = "16384", value_parser = value_parser!(u32).range(8192..=1_048_576))]
    pub max_header_list_size: u32,
}

// === impl ConnectionConfig ===

impl Default for ConnectionConfig {
    /// Returns the defaults of all flags.
    fn default() -> Self {
        crate::defaults()
    }
}
