//! The options for calls to gRPC targets.

/// The limits on responses of gRPC targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "gRPC")]
#[group(skip)]
pub struct GrpcOptions {
    /// Largest message of a response, in bytes after decompression. A call fails with RESOURCE_EXHAUSTED above it
    #[arg(long, value_name = "BYTES", default_value_t = Self::default().max_message_size,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_message_size: u32,

    /// Largest headers, and largest trailers, of a response, in bytes: the lengths of each name and value, and 32 more.
    /// A call fails with RESOURCE_EXHAUSTED above it
    #[arg(long, value_name = "BYTES", default_value_t = Self::default().max_header_list_size,
        value_parser = clap::value_parser!(u32).range(4096..=16_777_216))]
    pub max_header_list_size: u32,
}

// === impl GrpcOptions ===

impl Default for GrpcOptions {
    fn default() -> Self {
        Self { max_message_size: 4 << 20, max_header_list_size: 256 << 10 }
    }
}
