//! The flags of a server's connections.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Args, value_parser};

use crate::parse_duration;

/// Limits of the connections of a server. Each can be given in the environment, under the name that `--help` shows.
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
    /// Connections that may be open at once; the requests of further ones get 503 with Retry-After, or UNAVAILABLE over
    /// gRPC. A low limit on open files lowers it
    #[arg(long, env, value_name = "MAX_CONNECTIONS", default_value = "512")]
    pub max_connections: NonZeroUsize,

    /// Age at which the server ends a connection, plus or minus 10 %, so that its client connects again: by GOAWAY, or
    /// by `connection: close` on the next response over HTTP/1; later while MAX_CONNECTIONS are open; 0s is for ever.
    /// gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE", default_value = "0s", value_parser = parse_duration)]
    pub max_connection_age: Duration,

    /// The time that the requests in flight may go on after that before the connection is closed; 0s is for ever. gRFC
    /// A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE_GRACE", default_value = "30s", value_parser = parse_duration)]
    pub max_connection_age_grace: Duration,

    /// The time that an HTTP/2 connection may be without a request before it gets a GOAWAY; 0s is for ever. gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_IDLE", default_value = "15m", value_parser = parse_duration)]
    pub max_connection_idle: Duration,

    /// The time that an HTTP/2 connection may be silent before the server sends a PING; 0s never sends one
    #[arg(long, env, value_name = "KEEPALIVE_TIME", default_value = "1m", value_parser = parse_duration)]
    pub keepalive_time: Duration,

    /// The time that the answer to that PING may take before the connection is closed
    #[arg(long, env, value_name = "KEEPALIVE_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub keepalive_timeout: Duration,

    /// Requests that may be open on one HTTP/2 connection; a client keeps further ones waiting. Below 100, some clients
    /// have requests refused that they start before they know the limit
    #[arg(long, env, value_name = "MAX_CONCURRENT_STREAMS", default_value = "100", value_parser = value_parser!(u32).range(1..))]
    pub max_concurrent_streams: u32,

    /// Bytes of a request's head. Over HTTP/2 they are counted as in RFC 9113: the text of each header and 32 bytes
    #[arg(long, env, value_name = "MAX_HEADER_LIST_SIZE", default_value = "16384", value_parser = value_parser!(u32).range(8192..=1_048_576))]
    pub max_header_list_size: u32,
}

// === impl ConnectionConfig ===

impl Default for ConnectionConfig {
    /// The values that the flags have when none is given.
    fn default() -> Self {
        crate::defaults()
    }
}
