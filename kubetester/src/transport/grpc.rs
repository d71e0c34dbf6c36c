//! gRPC: one method, over plain connections or the balanced channel.

mod called;
mod client;
mod codec;
mod connect;
mod observed;
mod options;
mod reflection;
mod status;
mod stream;

use std::{sync::Arc, time::Duration};

use balanced_channel::status_name;
use bytes::Bytes;
use prost_reflect::DescriptorPool;
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};
use tonic::{Code, Status, metadata::MetadataMap};

use self::{
    called::{Called, Response},
    client::{AnyChannel, Client, Connection, Peer, Question},
    reflection::Reflection,
};
pub use self::{options::GrpcOptions, stream::StreamCaller};
use super::{
    Setup, Unreachable,
    reply::{CallError, Content, Reply},
};
use crate::{
    conditions::EndpointState,
    engine::Outcome,
    method::{self, Choice, Method, MethodName, Unfit},
    pod_name::{PodFrom, PodSource, SeenHeaders},
    sanitize,
    tally::Messages,
    target::Target,
};

/// The state that all callers of one target share.
pub(super) struct Server {
    /// The connections over which callers are distributed.
    connections: Vec<Connection>,
    shared: Arc<Shared>,
}

struct Shared {
    metadata: MetadataMap,
    options: GrpcOptions,
    pod_from: PodFrom,
    /// True if the target is balanced, so that each connection ends at a pod.
    peer_is_pod: bool,
    choice: Choice,
    seen_headers: SeenHeaders,
    /// Empty until the server was asked for the method.
    called: OnceCell<Called>,
}

/// One caller.
pub struct Caller {
    client: Client,
    shared: Arc<Shared>,
}

// === impl Server ===

impl Server {
    fn new(connections: Vec<Connection>, setup: Setup, called: Option<Called>) -> Self {
        let peer_is_pod = matches!(connections[..], [Connection::Balanced(_)]);
        let metadata = MetadataMap::from_headers(setup.headers);
        let called = OnceCell::new_with(called);
        let shared = Shared {
            metadata,
            options: setup.grpc,
            pod_from: setup.pod_from,
            peer_is_pod,
            choice: setup.method,
            seen_headers: SeenHeaders::default(),
            called,
        };
        Self { connections, shared: Arc::new(shared) }
    }

    /// Returns the endpoints of a balanced target as they are now.
    pub(super) fn endpoints(&self) -> Vec<EndpointState> {
        let [Connection::Balanced(channel)] = &self.connections[..] else { return Vec::new() };
        let endpoint = |subchannel: balanced_channel::SubchannelSnapshot| EndpointState {
            address: subchannel.address.to_string(),
            ready: subchannel.state == balanced_channel::Connectivity::Ready,
            last_error: subchannel.last_error.map(sanitize::reason),
        };
        channel.snapshot().subchannels.into_iter().map(endpoint).collect()
    }

    /// Returns the headers of an answer without the header of `--pod-from`.
    pub(super) fn seen_headers(&self) -> Vec<String> {
        self.shared.seen_headers.names()
    }

    pub(super) fn caller(&self, index: usize) -> Caller {
        let connection = &self.connections[index % self.connections.len()];
        Caller { client: connection.client(self.shared.options), shared: self.shared.clone() }
    }

    /// Returns a caller that holds streams, or the name of the method if it does not stream.
    pub(super) fn stream_caller(&self, index: usize) -> Result<StreamCaller, String> {
        let streams = self.shared.called.get().is_some_and(|called| called.method.streams);
        if !streams {
            return Err(self.method());
        }
        let Caller { client, shared } = self.caller(index);
        Ok(StreamCaller { client, shared, open: None })
    }

    /// Returns the method as `pkg.Service/Method`.
    pub(super) fn method(&self) -> String {
        self.shared.choice.method.as_ref().map_or_else(|| method::HELLO.to_owned(), MethodName::to_string)
    }

    /// Returns where the names of pods are from, once a response has decided that.
    pub(super) fn pod_source(&self) -> Option<PodSource> {
        self.shared.called.get().and_then(|called| called.reader.source())
    }

    /// Has the server say what the method is, unless that is known.
    pub(super) async fn learn(&self, target: &Target, patience: Duration) -> Result<(), Unreachable> {
        let client = self.connections[0].client(self.shared.options);
        let learned = timeout(patience, self.shared.called(&client)).await;
        let patience = humantime::format_duration(patience);
        let late = |_| Err(Unfit::UnknownMethods(format!("no answer to reflection within {patience}")));
        learned.unwrap_or_else(late).map(drop).map_err(|unfit| match unfit {
            Unfit::Usage(sentence) => Unreachable::Usage(format!("{target}: {sentence}")),
            Unfit::UnknownMethods(why) | Unfit::NoReflection(why) => {
                let method =
                    self.shared.choice.method.as_ref().map(MethodName::to_string).unwrap_or_default();
                Unreachable::UnknownMethods { target: target.to_string(), method, why }
            }
        })
    }
}

// === impl Caller ===

impl Caller {
    pub(super) async fn call(&mut self) -> Outcome {
        let Self { client, shared } = self;
        let called = match shared.called(client).await {
            Ok(called) => called,
            Err(unfit) => return Outcome { error: Some(unfit.to_string()), ..Outcome::default() },
        };
        let mut messages = called.method.streams.then(Messages::default);
        let (response, error) = match client.call(called, &shared.metadata, messages.as_mut()).await {
            Ok(response) => (response, None),
            Err(status) => {
                let error = Some(status::refusal(&status, &called.method.path));
                (refused(&status), error)
            }
        };
        match client.pod(called, &response, error.is_none()) {
            Ok(pod) => {
                if pod.is_none() && error.is_none() {
                    shared.seen_headers.note(&shared.pod_from, &response.headers);
                }
                Outcome { pod: pod.map(|pod| pod.name), error, messages }
            }
            Err(unreadable) => Outcome { pod: None, error: Some(unreadable), messages },
        }
    }

    /// Calls once and returns what the server responded. Each message of a stream is handed to `arrived` as JSON.
    pub(super) async fn reply(&mut self, arrived: &mut (dyn FnMut(&str) + Send)) -> Result<Reply, CallError> {
        let Self { client, shared } = self;
        let called = shared.called(client).await.map_err(|unfit| match unfit {
            Unfit::Usage(sentence) => CallError::Usage(sentence),
            Unfit::UnknownMethods(why) | Unfit::NoReflection(why) => CallError::NoReply(why),
        })?;
        let streams = called.method.streams;
        let mut unreadable = None;
        let mut message_arrived = |message: &Bytes| match called.reader.json(message) {
            Ok(json) if streams => arrived(&json),
            Ok(_) => {}
            Err(why) => drop(unreadable.get_or_insert(why)),
        };
        let result = client.stream(called, &shared.metadata, &mut message_arrived).await;
        if let Some(why) = unreadable {
            return Err(CallError::NoReply(why));
        }
        let (response, content) = match result {
            Ok(response) => {
                let content = shared.content(called, &response).map_err(CallError::NoReply)?;
                (response, content)
            }
            Err(status) if client.last.get().complete => {
                let response = refused(&status);
                let content = Content::Refused {
                    status: status_name(status.code()).to_owned(),
                    message: status::explanation(&status, &called.method.path),
                    unimplemented: status.code() == Code::Unimplemented,
                };
                (response, content)
            }
            Err(status) => return Err(CallError::NoReply(status::refusal(&status, &called.method.path))),
        };
        let succeeded = !matches!(content, Content::Refused { .. });
        let pod = client.pod(called, &response, succeeded).map_err(CallError::NoReply)?;
        let Response { headers, trailers, .. } = response;
        Ok(Reply { content, pod, peer: client.peer(), headers, trailers: trailers.unwrap_or_default() })
    }

    /// Returns the names of the server's services, by reflection.
    pub(super) async fn services(&self) -> Result<Vec<String>, Unfit> {
        let Self { client, shared } = self;
        match &client.channel {
            AnyChannel::Plain(client, _) => {
                Reflection::new(client.clone(), &shared.metadata).services().await
            }
            AnyChannel::Balanced(client) => {
                Reflection::new(client.clone(), &shared.metadata).services().await
            }
        }
    }

    /// Returns the description of a service or a message, by reflection.
    pub(super) async fn symbol(&self, symbol: &str) -> Result<DescriptorPool, Unfit> {
        self.client.reflect(&self.shared.metadata, Question::Symbol(symbol)).await
    }

    /// Returns where the names of pods are from, once a response has decided that.
    pub(super) fn pod_source(&self) -> Option<PodSource> {
        self.shared.called.get().and_then(|called| called.reader.source())
    }
}

/// Returns the response of a server that ended a call with an error.
fn refused(status: &Status) -> Response {
    let headers = status.metadata().clone().into_headers();
    Response { headers, trailers: None, message: None, messages: 0 }
}

// === impl Shared ===

impl Shared {
    /// Returns the method. If it has to be asked of the server and is not answered, the next call asks again.
    async fn called(&self, client: &Client) -> Result<&Called, Unfit> {
        self.called.get_or_try_init(|| self.ask(client)).await
    }

    async fn ask(&self, client: &Client) -> Result<Called, Unfit> {
        let name = match self.choice.method()? {
            Ok(method) => return Called::new(method, &self.pod_from, self.peer_is_pod),
            Err(name) => name,
        };
        let pool = match client.reflect(&self.metadata, Question::Service(name)).await {
            Ok(pool) => pool,
            // Many servers of the well-known greeters have no reflection.
            Err(Unfit::NoReflection(_))
                if method::built_in()
                    .get_service_by_name(&name.service)
                    .is_some_and(|service| service.methods().any(|method| method.name() == name.method)) =>
            {
                method::built_in()
            }
            Err(unfit) => return Err(unfit),
        };
        Called::new(Method::find(&pool, name, self.choice.json())?, &self.pod_from, self.peer_is_pod)
    }

    fn content(&self, called: &Called, response: &Response) -> Result<Content, String> {
        if called.method.streams {
            return Ok(Content::Stream(response.messages));
        }
        let json = response.message.as_ref().map(|message| called.reader.json(message)).transpose()?;
        let json = json.unwrap_or_default();
        if self.choice.method.is_some() {
            return Ok(Content::Message(json));
        }
        let greeting: Value = serde_json::from_str(&json).unwrap_or_default();
        let text = |field| greeting.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Content::Greeting { name: text("name"), version: text("version") })
    }
}
