//! gRPC: `hello.Hello/SayHello`, over plain connections or the balanced channel.

use std::{sync::Arc, time::Duration};

use balanced_channel::{ChannelSnapshot, Connectivity};
use proto::hello::{Greeting, Introduction, hello_client::HelloClient};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint as Uri},
};

use super::{Setup, Unreachable, cause};
use crate::{
    answered::{Evidence, PodFrom},
    engine::Outcome,
    target::Endpoint,
};

/// How often a balanced channel is asked whether it is connected.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What all callers of one target share.
pub(super) struct Server {
    /// Callers are dealt to these.
    clients: Vec<Client>,
    shared: Arc<Shared>,
}

struct Shared {
    metadata: MetadataMap,
    pod_from: PodFrom,
}

#[derive(Clone)]
enum Client {
    Plain(HelloClient<Channel>),
    Balanced(HelloClient<balanced_channel::Channel>),
}

/// One caller.
pub struct Caller {
    client: Client,
    shared: Arc<Shared>,
}

// === impl Server ===

impl Server {
    /// As many connections as the setup says, one by default: what a gRPC client without a balancer has.
    pub(super) async fn reach_plain(
        endpoint: &Endpoint,
        setup: Setup,
        patience: Duration,
    ) -> Result<Self, Unreachable> {
        let authority = endpoint.authority();
        let unreachable = |why| Unreachable::Peer { target: format!("grpc://{authority}"), why };
        let uri = Uri::from_shared(format!("http://{authority}"));
        let uri = uri.map_err(|error| unreachable(cause::root(&error)))?.tcp_nodelay(true);
        let mut clients = Vec::new();
        for _ in 0..setup.connections.map_or(1, usize::from) {
            let channel = match timeout(patience, uri.connect()).await {
                Ok(Ok(channel)) => channel,
                Ok(Err(error)) => {
                    let io = cause::io_source(&error).map(|io| cause::of_io(io, &authority));
                    return Err(unreachable(io.unwrap_or_else(|| cause::root(&error))));
                }
                Err(_) => return Err(unreachable(no_connection(patience))),
            };
            clients.push(Client::Plain(HelloClient::new(channel)));
        }
        Ok(Self::new(clients, setup))
    }

    /// Waits until every endpoint is connected, or known not to be.
    pub(super) async fn reach_balanced(
        target: &str,
        setup: Setup,
        patience: Duration,
    ) -> Result<Self, Unreachable> {
        let channel = balanced_channel::Channel::new(target);
        let channel = channel.map_err(|error| Unreachable::Usage(error.to_string()))?;
        let settled = timeout(patience, settle(&channel)).await;
        if settled.is_err() && channel.snapshot().ready() == 0 {
            return Err(Unreachable::Peer { target: target.to_owned(), why: no_connection(patience) });
        }
        if let Ok(Err(why)) = settled {
            return Err(Unreachable::Peer { target: target.to_owned(), why });
        }
        Ok(Self::new(vec![Client::Balanced(HelloClient::new(channel))], setup))
    }

    fn new(clients: Vec<Client>, setup: Setup) -> Self {
        let metadata = MetadataMap::from_headers(setup.headers);
        Self { clients, shared: Arc::new(Shared { metadata, pod_from: setup.pod_from }) }
    }

    pub(super) fn caller(&self, index: usize) -> Caller {
        Caller { client: self.clients[index % self.clients.len()].clone(), shared: self.shared.clone() }
    }
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
            (Some(0), _) => return Err("the name has no addresses".to_owned()),
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

// === impl Caller ===

impl Caller {
    pub(super) async fn call(&mut self) -> Outcome {
        let mut request = Request::new(Greeting::default());
        if !self.shared.metadata.is_empty() {
            *request.metadata_mut() = self.shared.metadata.clone();
        }
        let answer = match &mut self.client {
            Client::Plain(client) => client.say_hello(request).await,
            Client::Balanced(client) => client.say_hello(request).await,
        };
        match answer {
            Ok(answer) => Outcome { pod: self.pod(answer), error: None },
            Err(status) => Outcome { pod: None, error: Some(refusal(&status)) },
        }
    }

    fn pod(&self, answer: Response<Introduction>) -> Option<String> {
        let (metadata, answer, _) = answer.into_parts();
        if let PodFrom::Known = self.shared.pod_from {
            return Some(answer.hostname).filter(|name| !name.is_empty());
        }
        let Introduction { name, version, hostname } = answer;
        let body = json!({ "name": name, "version": version, "hostname": hostname }).to_string();
        // tonic hands headers and trailers out as one.
        let headers = metadata.into_headers();
        self.shared.pod_from.find(Evidence {
            headers: &headers,
            trailers: None,
            body: body.as_bytes(),
            peer: None,
        })
    }
}

/// A status in words: the peer's own, or what is known of how the connection broke.
fn refusal(status: &Status) -> String {
    let name = code_name(status.code());
    let source = std::error::Error::source(status);
    if let Some(io) = source.and_then(|source| cause::io_source(source)) {
        return format!("gRPC {name}: {}", cause::of_io(io, "the server"));
    }
    // Without a source it is the server's own word, and means what it says.
    match (source, status.message()) {
        (Some(_), "operation was canceled") => {
            format!("gRPC {name}: the connection ended before the call was sent; is it a gRPC port?")
        }
        (Some(_), message) if message.starts_with("h2 protocol error") => {
            format!("gRPC {name}: the server does not speak HTTP/2 as it should; is it a gRPC port?")
        }
        (_, "") => format!("gRPC {name}"),
        (_, message) => format!("gRPC {name}: {message}"),
    }
}

/// A status code by the name that the gRPC documents give it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
