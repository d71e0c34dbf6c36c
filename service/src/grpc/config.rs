//! The flags of a gRPC server.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::{http::Http2, parse_duration};

/// The flags of a gRPC server. Each can be given in the environment, under the name that `--help` shows.
///
/// A client that meets a limit waits (streams) or gets an error for that call (sizes); its connection stays.
#[derive(Args, Clone, Debug)]
pub struct ServerConfig {
    /// Age at which a connection gets a GOAWAY, give or take 10 %, so that its client connects again; 0s is for
    /// ever. gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE", default_value = "0s", value_parser = parse_duration)]
    pub max_connection_age: Duration,

    /// How long the calls in flight may go on after that GOAWAY before the connection is closed; 0s is for ever.
    /// gRFC A9
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE_GRACE", default_value = "30s", value_parser = parse_duration)]
    pub max_connection_age_grace: Duration,

    /// How long a connection may be silent before the server sends a PING; 0s never sends one
    #[arg(long, env, value_name = "KEEPALIVE_TIME", default_value = "2h", value_parser = parse_duration)]
    pub keepalive_time: Duration,

    /// How long the answer to that PING may take before the connection is closed
    #[arg(long, env, value_name = "KEEPALIVE_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub keepalive_timeout: Duration,

    /// Calls that may be open on one connection; a client keeps further ones waiting. Below 100, some clients have
    /// calls refused that they start before they know the limit
    #[arg(long, env, value_name = "MAX_CONCURRENT_STREAMS", default_value = "1000", value_parser = value_parser!(u32).range(1..))]
    pub max_concurrent_streams: u32,

    /// Bytes of all headers of a call, counted as in RFC 9113: the text of each and 32 bytes
    #[arg(long, env, value_name = "MAX_HEADER_LIST_SIZE", default_value = "16384", value_parser = value_parser!(u32).range(1024..))]
    pub max_header_list_size: u32,

    /// Bytes of a message, in and out
    #[arg(long, env, value_name = "MAX_MESSAGE_SIZE", default_value = "4194304")]
    pub max_message_size: usize,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    /// The values that the flags have when none is given.
    fn default() -> Self {
        crate::defaults()
    }
}

impl ServerConfig {
    pub(super) fn http2(&self) -> Http2 {
        Http2 {
            max_concurrent_streams: self.max_concurrent_streams,
            max_header_list_size: self.max_header_list_size,
            keepalive_interval: self.keepalive_time,
            keepalive_timeout: self.keepalive_timeout,
        }
    }
}
