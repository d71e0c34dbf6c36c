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

use super::{Called, Connection, Peer, Server};
use crate::{
    target::Endpoint,
    transport::{Setup, Unreachable, cause, tls::Encrypt},
};

/// The name of HTTP/2 in a TLS handshake.
const ALPN: &[u8] = b"h2";

/// The number of times that a balanced channel is asked whether it is connected.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// HTTP/2's limit on headers and trailers, as a multiple of the setting, which [`Observed`](super::observed) applies: tonic
/// does not report what is above its own limit.
const HEADER_LIST_FACTOR: u32 = 8;

/// The stream below HTTP/2.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

type Stream = Box<dyn ByteStream>;

/// Has the balanced channel speak TLS as everything here does.
struct Encrypted(Encrypt);

// === impl Encrypted ===

impl Connector for Encrypted {
    type Io = TlsStream<TcpStream>;

    fn scheme(&self) -> Scheme {
        Scheme::HTTPS
    }

    async fn connect(&self, endpoint: &balanced_channel::Endpoint) -> io::Result<Self::Io> {
        let stream = TcpConnector::default().connect(endpoint).await?;
        shake(&self.0, stream, &endpoint.address.to_string()).await
    }
}

// === impl Server ===

impl Server {
    /// As many connections as the setup says, one by default: what a gRPC client without a balancer has.
    pub(in crate::transport) async fn reach_plain(
        endpoint: &Endpoint,
        mut setup: Setup,
        patience: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let authority = endpoint.authority();
        let unreachable = |why| Unreachable::Peer { target: endpoint.root("grpc"), why };
        let called = Called::beforehand(&setup, false)?;
        let tls = match endpoint.tls {
            true => Some(setup.tls.encrypt(&endpoint.host, &[ALPN])?),
            false => None,
        };
        // The connector below does the handshake. tonic is told of it by the origin alone, which makes the requests'
        // `:scheme`: to reach an `https` address it wants its own TLS, wherever a crate of the build turns that on.
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
            let channel = match patience {
                None => settings.connect_with_connector_lazy(connector),
                Some(patience) => match timeout(patience, settings.connect_with_connector(connector)).await {
                    Ok(Ok(channel)) => channel,
                    Ok(Err(error)) => return Err(unreachable(why(&error, &authority))),
                    Err(_) => return Err(unreachable(no_connection(patience))),
                },
            };
            connections.push(Connection::Plain(channel, peer));
        }
        Ok(Self::new(connections, setup, called))
    }

    /// Waits until every endpoint is connected, or known not to be.
    pub(in crate::transport) async fn reach_balanced(
        target: &str,
        mut setup: Setup,
        patience: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let called = Called::beforehand(&setup, true)?;
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
                builder.connector(Encrypted(setup.tls.encrypt(host, &[ALPN])?)).build()
            }
            false => builder.build(),
        };
        let channel = channel.map_err(|error| usage(&error))?;
        if let Some(patience) = patience {
            let unreachable = |why| Unreachable::Peer { target: target.to_owned(), why };
            match timeout(patience, settle(&channel)).await {
                Ok(settled) => settled.map_err(unreachable)?,
                // Some may never be connected, and are not waited for.
                Err(_) if channel.snapshot().ready() > 0 => {}
                Err(_) => return Err(unreachable(no_connection(patience))),
            }
        }
        Ok(Self::new(vec![Connection::Balanced(channel)], setup, called))
    }

    /// Over tonic's own balancer, which connects when it is called.
    pub(in crate::transport) fn reach_tonic(
        addresses: &[SocketAddr],
        mut setup: Setup,
    ) -> Result<Self, Unreachable> {
        let called = Called::beforehand(&setup, false)?;
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
        Ok(Self::new(vec![Connection::Plain(channel, Peer::default())], setup, called))
    }
}

fn http2_limit(setup: &Setup) -> u32 {
    setup.grpc.max_header_list_size.saturating_mul(HEADER_LIST_FACTOR)
}

/// Connects, and notes whom it reached.
async fn dial(endpoint: Endpoint, tls: Option<Encrypt>, peer: Peer) -> io::Result<TokioIo<Stream>> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let address = stream.peer_addr()?;
    peer.set(address);
    Ok(TokioIo::new(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(shake(&tls, stream, &address.to_string()).await?),
    }))
}

/// gRPC is HTTP/2, and over TLS the server has to agree to that.
async fn shake(tls: &Encrypt, stream: TcpStream, peer: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = tls.shake(stream, peer).await.map_err(io::Error::other)?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        return Ok(stream);
    }
    Err(io::Error::other(format!("{peer} does not offer HTTP/2 over TLS (ALPN h2); is it a gRPC port?")))
}

fn why(error: &tonic::transport::Error, peer: &str) -> String {
    let io = cause::io_source(error).map(|io| cause::of_io(io, peer));
    io.unwrap_or_else(|| cause::root(error))
}

/// Waits until no connection is being made any more. Fails when none could be.
async fn settle(channel: &balanced_channel::Channel) -> Result<(), String> {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
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

fn no_connection(patience: Duration) -> String {
    format!("no connection within {}", humantime::format_duration(patience))
}
