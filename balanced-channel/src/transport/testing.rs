//! A client for the tests of other modules, over a stream that the test supplies.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{HeaderListLimit, Http2Client, handshake};

/// Returns a client over `io`. It does not wait for the peer's SETTINGS.
pub(crate) async fn connect_over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Http2Client {
    let (client, driver, _) =
        handshake(io, None, HeaderListLimit::default()).await.expect("the stream takes what comes first");
    tokio::spawn(driver);
    client
}
