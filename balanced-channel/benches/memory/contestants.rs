//! The compared clients, each of which holds a number of connections.

use std::net::SocketAddr;

use balanced_channel::Channel;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{
    body::Body,
    transport::{Channel as TonicChannel, Endpoint},
};
use tower_service::Service;

pub(crate) const ALL: [Contestant; 4] =
    [Contestant::Hyper, Contestant::Tonic, Contestant::TonicBalance, Contestant::Balanced];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// The baseline: connections without a channel.
    Hyper,
    /// A channel for each connection.
    Tonic,
    /// One channel.
    TonicBalance,
    Balanced,
}

/// A connected contestant.
pub(crate) enum Connected {
    Hyper(Vec<http2::SendRequest<Body>>),
    Tonic(Vec<TonicChannel>),
    TonicBalance(TonicChannel, usize),
    Balanced(Channel, usize),
}

// === impl Contestant ===

impl Contestant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper SendRequest",
            Self::Tonic => "tonic Channel",
            Self::TonicBalance => "tonic balance_list",
            Self::Balanced => "balanced-channel",
        }
    }

    pub(crate) async fn connect(self, servers: &[SocketAddr]) -> Connected {
        let endpoint = |address: &SocketAddr| Endpoint::try_from(format!("http://{address}")).unwrap();
        match self {
            Self::Hyper => {
                let mut senders = Vec::new();
                for server in servers {
                    let stream = TcpStream::connect(server).await.unwrap();
                    let io = TokioIo::new(stream);
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                    tokio::spawn(connection);
                    senders.push(sender);
                }
                Connected::Hyper(senders)
            }
            Self::Tonic => {
                let mut channels = Vec::new();
                for server in servers {
                    channels.push(endpoint(server).connect().await.unwrap());
                }
                Connected::Tonic(channels)
            }
            Self::TonicBalance => {
                let channel = TonicChannel::balance_list(servers.iter().map(endpoint));
                Connected::TonicBalance(channel, servers.len())
            }
            Self::Balanced => {
                let list: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
                let channel = Channel::new(format!("ipv4:{}", list.join(","))).unwrap();
                while channel.snapshot().ready() < servers.len() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                Connected::Balanced(channel, servers.len())
            }
        }
    }
}

// === impl Connected ===

impl Connected {
    /// Makes one call on each connection, or the same number of calls if the channel chooses the connection.
    pub(crate) async fn call_each(&mut self) {
        match self {
            Self::Hyper(senders) => {
                for sender in senders {
                    read(sender.send_request(request()).await.unwrap()).await;
                }
            }
            Self::Tonic(channels) => {
                for channel in channels {
                    tonic_call(channel).await;
                }
            }
            Self::TonicBalance(channel, count) => {
                for _ in 0..*count {
                    tonic_call(channel).await;
                }
            }
            Self::Balanced(channel, count) => {
                for _ in 0..*count {
                    read(channel.call(request()).await.unwrap()).await;
                }
            }
        }
    }
}

async fn tonic_call(channel: &mut TonicChannel) {
    futures_util::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    read(channel.call(request()).await.unwrap()).await;
}

async fn read<B: http_body::Body<Data = Bytes>>(response: Response<B>)
where
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
}

/// Returns an encoded request of `SayHello` with the name "x".
fn request() -> Request<Body> {
    const MESSAGE: Bytes = Bytes::from_static(&[0, 0, 0, 0, 3, 0x0a, 1, b'x']);
    Request::post("http://bench/hello.Hello/SayHello")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(MESSAGE)))
        .unwrap()
}
