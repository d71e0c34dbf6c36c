//! Connects to a gRPC target.

use std::{io, net::SocketAddr, time::Duration};

use balanced_channel::{ChannelSnapshot, Connectivity, Connector, TcpConnector};
use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint as Settings};
use tower::service_fn;

use super::{Connection, GrpcTransport, Peer, PreparedMethod};
use crate::{
    target::Endpoint,
    transport::{Setup, Unreachable, cause, tls::TlsClient},
};

/// The name of HTTP/2 in a TLS handshake.
const ALPN: &[u8] = b"h2";

/// The interval between checks whether a balanced channel is connected.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// HTTP/2's limit on headers and trailers, as a multiple of the setting, which [`Observed`](super::observed) applies: tonic
/// does not report what is above its own limit.
const HEADER_LIST_FACTOR: u32 = 8;

/// The stream below HTTP/2.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

type Stream = Box<dyn ByteStream>;

/// Connects the endpoints of a balanced channel over TLS.
struct BalancedTlsConnector(TlsClient);

// === impl BalancedTlsConnector ===

impl Connector for BalancedTlsConnector {
    type Io = TlsStream<TcpStream>;

    fn scheme(&self) -> Scheme {
        Scheme::HTTPS
    }

    async fn connect(&self, endpoint: &balanced_channel::Endpoint) -> io::Result<Self::Io> {
        let stream = TcpConnector::default().connect(endpoint).await?;
        handshake(&self.0, stream, &endpoint.address.to_string()).await
    }
}

// === impl GrpcTransport ===

impl GrpcTransport {
    /// Opens the number of connections in `setup`. The default is one, like a gRPC client without a balancer.
    pub(in crate::transport) async fn connect_plain(
        endpoint: &Endpoint,
        mut setup: Setup,
        time_limit: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let authority = endpoint.authority();
        let unreachable = |why| Unreachable::Peer { target: endpoint.root("grpc"), why };
        let prepared = PreparedMethod::without_reflection(&setup, false)?;
        let tls = match endpoint.tls {
            true => Some(setup.tls.client(&endpoint.host, &[ALPN])?),
            false => None,
        };
        // The connector below does the TLS handshake, so the endpoint is `http`: for `https`, tonic would use its own TLS if
        // any crate enables that feature. The origin sets the `:scheme` of requests.
        let origin = match setup.take_authority()? {
            Some(authority) => format!("http{}://{authority}", if endpoint.tls { "s" } else { "" }),
            None => endpoint.root("http"),
        };
        let origin: Uri = origin.parse().map_err(|error| unreachable(cause::root(&error)))?;
        let settings = Settings::from_shared(format!("http://{authority}"));
        let settings = settings.map_err(|error| unreachable(cause::root(&error)))?.origin(origin);
        let settings = settings.http2_max_header_list_size(http2_limit(&setup));
        let mut connections = Vec::new();
        for _ in 0..setup.connections.map_or(1, usize::from) {
            let peer = Peer::default();
            let (to, tls, seen) = (endpoint.clone(), tls.clone(), peer.clone());
            let connector = service_fn(move |_: Uri| dial(to.clone(), tls.clone(), seen.clone()));
            let channel = match time_limit {
                None => settings.connect_with_connector_lazy(connector),
                Some(time_limit) => match timeout(time_limit, settings.connect_with_connector(connector))
                    .await
                {
                    Ok(Ok(channel)) => channel,
                    Ok(Err(error)) => return Err(unreachable(describe_connect_error(&error, &authority))),
                    Err(_) => return Err(unreachable(timeout_message(time_limit))),
                },
            };
            connections.push(Connection::Plain(channel, peer));
        }
        Ok(Self::new(connections, setup, prepared))
    }

    /// Waits until every endpoint is connected or has failed to connect.
    pub(in crate::transport) async fn connect_balanced(
        target: &str,
        mut setup: Setup,
        time_limit: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let prepared = PreparedMethod::without_reflection(&setup, true)?;
        let usage = |error: &dyn std::error::Error| Unreachable::Usage(error.to_string());
        let mut builder = balanced_channel::Channel::builder(target);
        builder = builder.max_header_list_size(setup.grpc.max_header_list_size);
        if let Some(authority) = setup.take_authority()? {
            builder = builder.authority(authority);
        }
        let channel = match setup.tls.is_set() {
            true => {
                let target: balanced_channel::Target = target.parse().map_err(|error| usage(&error))?;
                let host = target.authority().host().trim_matches(['[', ']']);
                builder.connector(BalancedTlsConnector(setup.tls.client(host, &[ALPN])?)).build()
            }
            false => builder.build(),
        };
        let channel = channel.map_err(|error| usage(&error))?;
        if let Some(time_limit) = time_limit {
            let unreachable = |why| Unreachable::Peer { target: target.to_owned(), why };
            match timeout(time_limit, wait_until_connected(&channel)).await {
                Ok(settled) => settled.map_err(unreachable)?,
                // One ready endpoint is enough to start.
                Err(_) if channel.snapshot().ready() > 0 => {}
                Err(_) => return Err(unreachable(timeout_message(time_limit))),
            }
        }
        Ok(Self::new(vec![Connection::Balanced(channel)], setup, prepared))
    }

    /// Uses tonic's own balancer, which connects on the first call.
    pub(in crate::transport) fn connect_tonic(
        addresses: &[SocketAddr],
        mut setup: Setup,
    ) -> Result<Self, Unreachable> {
        let prepared = PreparedMethod::without_reflection(&setup, false)?;
        let authority = setup.take_authority()?;
        let root = |address: &SocketAddr| {
            let root = Settings::from_shared(format!("http://{address}"));
            let root = root.expect("an address with a port makes a URI");
            let root = root.http2_max_header_list_size(http2_limit(&setup));
            let origin = authority.as_ref().and_then(|authority| format!("http://{authority}").parse().ok());
            origin.into_iter().fold(root, |root, origin| root.origin(origin))
        };
        let endpoints = addresses.iter().map(root);
        let channel = Channel::balance_list(endpoints);
        Ok(Self::new(vec![Connection::Plain(channel, Peer::default())], setup, prepared))
    }
}

fn http2_limit(setup: &Setup) -> u32 {
    setup.grpc.max_header_list_size.saturating_mul(HEADER_LIST_FACTOR)
}

/// Connects and records the address of the peer.
async fn dial(endpoint: Endpoint, tls: Option<TlsClient>, peer: Peer) -> io::Result<TokioIo<Stream>> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let address = stream.peer_addr()?;
    peer.set(address);
    Ok(TokioIo::new(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(handshake(&tls, stream, &address.to_string()).await?),
    }))
}

/// Performs the TLS handshake. Fails unless the server selects HTTP/2.
async fn handshake(tls: &TlsClient, stream: TcpStream, peer: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = tls.handshake(stream, peer).await.map_err(io::Error::other)?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        return Ok(stream);
    }
    Err(io::Error::other(format!("{peer} does not offer HTTP/2 over TLS (ALPN h2); is it a gRPC port?")))
}

fn describe_connect_error(error: &tonic::transport::Error, peer: &str) -> String {
    let io = cause::io_source(error).map(|io| cause::of_io(io, peer));
    io.unwrap_or_else(|| cause::root(error))
}

/// Waits until no endpoint is connecting any more. Fails if none is connected.
async fn wait_until_connected(channel: &balanced_channel::Channel) -> Result<(), String> {
    let mut poll = interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        poll.tick().await;
        let ChannelSnapshot { resolver, subchannels, .. } = &channel.snapshot();
        let trying = |state| matches!(state, Connectivity::Idle | Connectivity::Connecting);
        match (resolver.endpoints, &resolver.error) {
            (None, None) => {}
            (None, Some(error)) => return Err(error.clone()),
            (Some(0), error) => {
                return Err(error.clone().unwrap_or_else(|| "the name has no addresses".to_owned()));
            }
            (Some(endpoints), _) => {
                if subchannels.len() < endpoints || subchannels.iter().any(|one| trying(one.state)) {
                    continue;
                }
                if subchannels.iter().any(|one| one.state == Connectivity::Ready) {
                    return Ok(());
                }
                let last_error = subchannels.iter().find_map(|one| one.last_error.clone());
                return Err(last_error.unwrap_or_else(|| "no endpoint can be connected to".to_owned()));
            }
        }
    }
}

fn timeout_message(time_limit: Duration) -> String {
    format!("no connection within {}", humantime::format_duration(time_limit))
}
