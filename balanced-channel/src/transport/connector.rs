//! How bytes reach an endpoint: TCP by default, anything else for tests and tunnels.

use std::{future::Future, io};

use http::uri::Scheme;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::resolver::Endpoint;

/// Opens byte streams to endpoints.
pub trait Connector: Send + Sync + 'static {
    /// The stream, over which the channel speaks HTTP/2.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The scheme of calls over such streams. Default: `http`.
    fn scheme(&self) -> Scheme {
        Scheme::HTTP
    }

    /// Opens a stream to `endpoint`. The channel bounds the time.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Plain TCP, without Nagle's delay.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpConnector;

// === impl TcpConnector ===

impl Connector for TcpConnector {
    type Io = TcpStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
