//! The flags of a gRPC server.

use std::num::NonZeroUsize;

use clap::Args;

use crate::http::ConnectionConfig;

/// The flags of a gRPC server. Each can be given in the environment, under the name that `--help` shows.
///
/// A client that meets a limit of these gets an error for that call; its connection stays.
///
/// | limit | flag | default | metric |
/// | --- | --- | --- | --- |
/// | unary calls in flight | `--max-concurrent-calls` | 512 | `grpc_server_rejected_total` |
/// | streaming calls in flight | `--max-streaming-calls` | 256 | `grpc_server_rejected_total` |
/// | message | `--max-message-size` | 16 KiB | `grpc_server_handled_total{grpc_code="OutOfRange"}` |
/// | upload of a unary call | – | 10 s | `grpc_server_handled_total{grpc_code="DeadlineExceeded"}` |
///
/// docs/limits.md has the memory that they cost.
///
/// The clients of a gRPC server here are few programs with a connection each, so that the limit on connections is low.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("max_connections", |arg| arg.default_value("128")))]
pub struct ServerConfig {
    /// Limits of connections.
    #[command(flatten)]
    pub connections: ConnectionConfig,

    /// Unary calls that may be in flight at once, on all connections together; further ones get RESOURCE_EXHAUSTED. Half
    /// of them are divided among MAX_CONNECTIONS, so that each connection always has its part. Health checks are always
    /// answered
    #[arg(long, env, value_name = "MAX_CONCURRENT_CALLS", default_value = "512")]
    pub max_concurrent_calls: NonZeroUsize,

    /// Streaming calls that may be in flight at once, watches of the health among them; further ones get
    /// RESOURCE_EXHAUSTED. They are divided like unary calls
    #[arg(long, env, value_name = "MAX_STREAMING_CALLS", default_value = "256")]
    pub max_streaming_calls: NonZeroUsize,

    /// Bytes of a message, in and out
    #[arg(long, env, value_name = "MAX_MESSAGE_SIZE", default_value = "16384")]
    pub max_message_size: usize,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    /// The values that the flags have when none is given.
    fn default() -> Self {
        crate::defaults()
    }
}
