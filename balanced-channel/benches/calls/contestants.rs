//! The compared clients, behind a common interface.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use balanced_channel::Channel;
use futures_util::future::poll_fn;
use http::{Request, Response};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{
    body::Body,
    transport::{Channel as TonicChannel, Endpoint},
};
use tower_service::Service;

pub(crate) const ALL: [Contestant; 5] = [
    Contestant::Hyper,
    Contestant::Tonic,
    Contestant::TonicBalance,
    Contestant::Balanced,
    Contestant::Measured,
];

#[derive(Clone, Copy)]
pub(crate) enum Contestant {
    /// The baseline: three connections in turn, without a channel.
    Hyper,
    /// One connection to one server.
    Tonic,
    TonicBalance,
    Balanced,
    /// This channel with call metrics.
    Measured,
}

/// A contestant that is connected to all its servers.
#[derive(Clone)]
pub(crate) enum Connected {
    Hyper(Arc<Vec<http2::SendRequest<Body>>>, Arc<AtomicUsize>),
    Tonic(TonicChannel),
    Balanced(Channel),
}

impl Contestant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper SendRequest, in turn",
            Self::Tonic => "tonic Channel",
            Self::TonicBalance => "tonic balance_list",
            Self::Balanced => "balanced-channel",
            Self::Measured => "the same with call metrics",
        }
    }

    pub(crate) async fn connect(self, servers: &[SocketAddr]) -> Connected {
        let endpoint = |address: &SocketAddr| Endpoint::try_from(format!("http://{address}")).unwrap();
        match self {
            Self::Hyper => {
                let mut senders = Vec::new();
                for server in servers {
                    let stream = TcpStream::connect(server).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let io = TokioIo::new(stream);
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                    tokio::spawn(connection);
                    senders.push(sender);
                }
                Connected::Hyper(Arc::new(senders), Arc::default())
            }
            Self::Tonic => Connected::Tonic(endpoint(&servers[0]).connect().await.unwrap()),
            Self::TonicBalance => Connected::Tonic(TonicChannel::balance_list(servers.iter().map(endpoint))),
            Self::Balanced | Self::Measured => {
                let list: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
                let builder = Channel::builder(format!("ipv4:{}", list.join(",")));
                let channel = builder.call_metrics(matches!(self, Self::Measured)).build().unwrap();
                while channel.snapshot().ready() < servers.len() {
                    tokio::task::yield_now().await;
                }
                Connected::Balanced(channel)
            }
        }
    }
}

impl Connected {
    pub(crate) async fn call(&mut self, request: Request<Body>) -> Body {
        match self {
            Self::Hyper(senders, turn) => {
                let turn = turn.fetch_add(1, Ordering::Relaxed) % senders.len();
                let mut sender = senders[turn].clone();
                Body::new(sender.send_request(request).await.unwrap().into_body())
            }
            Self::Tonic(channel) => {
                poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
                channel.call(request).await.unwrap().into_body()
            }
            Self::Balanced(channel) => Body::new(Response::into_body(channel.call(request).await.unwrap())),
        }
    }
}
