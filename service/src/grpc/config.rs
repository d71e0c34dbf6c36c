//! The flags of a gRPC server.

use std::num::NonZeroUsize;

use clap::Args;

use crate::http::ConnectionConfig;

/// The flags of a gRPC server. Each can also be set in the environment, under the name that `--help` shows.
///
/// A call that exceeds one of these limits fails; its connection stays open.
///
/// | limit | flag | default | metric |
/// | --- | --- | --- | --- |
/// | unary calls in flight | `--max-concurrent-calls` | 512 | `grpc_server_rejected_total` |
/// | streaming calls in flight | `--max-streaming-calls` | 256 | `grpc_server_rejected_total` |
/// | message | `--max-message-size` | 16 KiB | `grpc_server_handled_total{grpc_code="OutOfRange"}` |
/// | upload of a unary call | – | 10 s | `grpc_server_handled_total{grpc_code="DeadlineExceeded"}` |
///
/// docs/limits.md has their cost in memory. The default limit on connections is low, because the clients of these servers
/// are a few programs with one connection each.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("max_connections", |arg| arg.default_value("128")))]
pub struct ServerConfig {
    /// Limits of connections.
    #[command(flatten)]
    pub connections: ConnectionConfig,

    /// Maximum number of unary calls in flight on all connections; further calls get RESOURCE_EXHAUSTED. Half of it is
    /// divided equally among MAX_CONNECTIONS, so that no client can use up the share of another. Health checks do not
    /// count
    #[arg(long, env, value_name = "MAX_CONCURRENT_CALLS", default_value = "512")]
    pub max_concurrent_calls: NonZeroUsize,

    /// Maximum number of streaming calls in flight, watches of the health service included; further calls get
    /// RESOURCE_EXHAUSTED. It is divided like the limit on unary calls
    #[arg(long, env, value_name = "MAX_STREAMING_CALLS", default_value = "256")]
    pub max_streaming_calls: NonZeroUsize,

    /// Maximum size of a message in bytes, received or sent
    #[arg(long, env, value_name = "MAX_MESSAGE_SIZE", default_value = "16384")]
    pub max_message_size: usize,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    /// Returns the defaults of all flags.
    fn default() -> Self {
        crate::defaults()
    }
}
