//! The options for calls to HTTP targets.

/// The options of HTTP targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub struct HttpOptions {
    /// Follow redirects, 10 at most. A call ends with the last response
    #[arg(short = 'L', long)]
    pub location: bool,

    /// Speak HTTP/2: to http:// with prior knowledge, to https:// if the server agrees (ALPN). Each caller has a
    /// connection of its own all the same
    #[arg(long)]
    pub http2: bool,

    /// Make a new connection for each request
    #[arg(long)]
    pub disable_keepalive: bool,
}
