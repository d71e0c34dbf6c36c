//! Connectors open the byte stream to an endpoint: TCP, or another transport for tests and tunnels.

use std::{future::Future, io, time::Duration};

use http::uri::Scheme;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::resolver::Endpoint;

/// Opens byte streams to endpoints.
pub trait Connector: Send + Sync + 'static {
    /// The byte stream that carries HTTP/2.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The scheme of calls over such streams. Default: `http`.
    fn scheme(&self) -> Scheme {
        Scheme::HTTP
    }

    /// Opens a stream to `endpoint`. The channel limits the time.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Plain TCP, without Nagle's delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpConnector {
    /// The time for which sent bytes may remain unacknowledged before the kernel closes the connection: the socket
    /// option TCP_USER_TIMEOUT (gRFC A18), on Linux and Android. `None` leaves the default of the kernel, about 15
    /// minutes. Default: 20 s, as in gRPC with keepalive.
    pub user_timeout: Option<Duration>,
}

// === impl TcpConnector ===

impl Default for TcpConnector {
    fn default() -> Self {
        Self { user_timeout: Some(Duration::from_secs(20)) }
    }
}

impl TcpConnector {
    /// Sets [`user_timeout`](Self::user_timeout).
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = timeout.into();
        self
    }
}

impl Connector for TcpConnector {
    type Io = TcpStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(self.user_timeout)?;
        Ok(stream)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tcp_user_timeout_is_set_on_the_socket() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::from(listener.local_addr().unwrap());
        for timeout in [Some(Duration::from_secs(20)), None] {
            let stream = TcpConnector::default().user_timeout(timeout).connect(&endpoint).await.unwrap();
            let told = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
            assert_eq!(told.filter(|told| !told.is_zero()), timeout);
        }
    }
}
