//! gRPC: one method, over plain connections or the balanced channel.

mod client;
mod codec;
mod connect;
mod observed;
mod options;
mod prepared;
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
    client::{AnyChannel, Client, Connection, Peer, ReflectionQuery},
    prepared::{PreparedMethod, Response},
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
    method::{self, Method, MethodError, MethodName, MethodOptions},
    pod_name::{PodFrom, PodSource, SeenHeaders},
    sanitize,
    tally::Messages,
    target::Target,
};

/// The state that all callers of one target share.
pub(super) struct GrpcTransport {
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
    choice: MethodOptions,
    seen_headers: SeenHeaders,
    /// The method. Empty until the server's reflection has described it.
    prepared: OnceCell<PreparedMethod>,
}

/// One caller.
pub struct Caller {
    client: Client,
    shared: Arc<Shared>,
}

// === impl GrpcTransport ===

impl GrpcTransport {
    fn new(connections: Vec<Connection>, setup: Setup, prepared: Option<PreparedMethod>) -> Self {
        let peer_is_pod = matches!(connections[..], [Connection::Balanced(_)]);
        let metadata = MetadataMap::from_headers(setup.headers);
        let prepared = OnceCell::new_with(prepared);
        let shared = Shared {
            metadata,
            options: setup.grpc,
            pod_from: setup.pod_from,
            peer_is_pod,
            choice: setup.method,
            seen_headers: SeenHeaders::default(),
            prepared,
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
        let streams = self.shared.prepared.get().is_some_and(|prepared| prepared.method.streams);
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
        self.shared.prepared.get().and_then(|prepared| prepared.reader.source())
    }

    /// Queries the method by reflection, unless it is already known.
    pub(super) async fn prepare_method(
        &self,
        target: &Target,
        time_limit: Duration,
    ) -> Result<(), Unreachable> {
        let client = self.connections[0].client(self.shared.options);
        let result = timeout(time_limit, self.shared.prepared(&client)).await;
        let time_limit = humantime::format_duration(time_limit);
        let late =
            |_| Err(MethodError::UnknownMethods(format!("no answer to reflection within {time_limit}")));
        result.unwrap_or_else(late).map(drop).map_err(|error| match error {
            MethodError::Usage(sentence) => Unreachable::Usage(format!("{target}: {sentence}")),
            MethodError::UnknownMethods(why) | MethodError::NoReflection(why) => {
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
        let prepared = match shared.prepared(client).await {
            Ok(prepared) => prepared,
            Err(error) => return Outcome { error: Some(error.to_string()), ..Outcome::default() },
        };
        let mut messages = prepared.method.streams.then(Messages::default);
        let (response, error) = match client.call(prepared, &shared.metadata, messages.as_mut()).await {
            Ok(response) => (response, None),
            Err(status) => {
                let error = Some(status::describe_status(&status, &prepared.method.path));
                (error_response(&status), error)
            }
        };
        match client.pod(prepared, &response, error.is_none()) {
            Ok(pod) => {
                if pod.is_none() && error.is_none() {
                    shared.seen_headers.record(&shared.pod_from, &response.headers);
                }
                Outcome { pod: pod.map(|pod| pod.name), error, messages }
            }
            Err(unreadable) => Outcome { pod: None, error: Some(unreadable), messages },
        }
    }

    /// Calls once and returns what the server responded. Each message of a stream is handed to `on_message` as JSON.
    pub(super) async fn reply(
        &mut self,
        on_message: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Reply, CallError> {
        let Self { client, shared } = self;
        let prepared = shared.prepared(client).await.map_err(|error| match error {
            MethodError::Usage(sentence) => CallError::Usage(sentence),
            MethodError::UnknownMethods(why) | MethodError::NoReflection(why) => CallError::NoReply(why),
        })?;
        let streams = prepared.method.streams;
        let mut unreadable = None;
        let mut message_arrived = |message: &Bytes| match prepared.reader.json(message) {
            Ok(json) if streams => on_message(&json),
            Ok(_) => {}
            Err(why) => drop(unreadable.get_or_insert(why)),
        };
        let result = client.stream(prepared, &shared.metadata, &mut message_arrived).await;
        if let Some(why) = unreadable {
            return Err(CallError::NoReply(why));
        }
        let (response, content) = match result {
            Ok(response) => {
                let content = shared.content(prepared, &response).map_err(CallError::NoReply)?;
                (response, content)
            }
            Err(status) if client.last.get().complete => {
                let response = error_response(&status);
                let content = Content::Error {
                    status: status_name(status.code()).to_owned(),
                    message: status::explanation(&status, &prepared.method.path),
                    unimplemented: status.code() == Code::Unimplemented,
                };
                (response, content)
            }
            Err(status) => {
                return Err(CallError::NoReply(status::describe_status(&status, &prepared.method.path)));
            }
        };
        let succeeded = !matches!(content, Content::Error { .. });
        let pod = client.pod(prepared, &response, succeeded).map_err(CallError::NoReply)?;
        let Response { headers, trailers, .. } = response;
        Ok(Reply { content, pod, peer: client.peer(), headers, trailers: trailers.unwrap_or_default() })
    }

    /// Returns the names of the server's services, by reflection.
    pub(super) async fn services(&self) -> Result<Vec<String>, MethodError> {
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
    pub(super) async fn symbol(&self, symbol: &str) -> Result<DescriptorPool, MethodError> {
        self.client.reflect(&self.shared.metadata, ReflectionQuery::Symbol(symbol)).await
    }

    /// Returns where the names of pods are from, once a response has decided that.
    pub(super) fn pod_source(&self) -> Option<PodSource> {
        self.shared.prepared.get().and_then(|prepared| prepared.reader.source())
    }
}

/// Returns the response of a server that ended a call with an error.
fn error_response(status: &Status) -> Response {
    let headers = status.metadata().clone().into_headers();
    Response { headers, trailers: None, message: None, messages: 0 }
}

// === impl Shared ===

impl Shared {
    /// Returns the method. If reflection fails, the next call tries again.
    async fn prepared(&self, client: &Client) -> Result<&PreparedMethod, MethodError> {
        self.prepared.get_or_try_init(|| self.prepare(client)).await
    }

    async fn prepare(&self, client: &Client) -> Result<PreparedMethod, MethodError> {
        let name = match self.choice.method()? {
            Ok(method) => return PreparedMethod::new(method, &self.pod_from, self.peer_is_pod),
            Err(name) => name,
        };
        let pool = match client.reflect(&self.metadata, ReflectionQuery::Service(name)).await {
            Ok(pool) => pool,
            // Many servers of well-known greeters do not support reflection.
            Err(MethodError::NoReflection(_))
                if method::built_in()
                    .get_service_by_name(&name.service)
                    .is_some_and(|service| service.methods().any(|method| method.name() == name.method)) =>
            {
                method::built_in()
            }
            Err(error) => return Err(error),
        };
        PreparedMethod::new(Method::find(&pool, name, self.choice.json())?, &self.pod_from, self.peer_is_pod)
    }

    fn content(&self, prepared: &PreparedMethod, response: &Response) -> Result<Content, String> {
        if prepared.method.streams {
            return Ok(Content::Stream(response.messages));
        }
        let json = response.message.as_ref().map(|message| prepared.reader.json(message)).transpose()?;
        let json = json.unwrap_or_default();
        if self.choice.method.is_some() {
            return Ok(Content::Message(json));
        }
        let greeting: Value = serde_json::from_str(&json).unwrap_or_default();
        let text = |field| greeting.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Content::Greeting { name: text("name"), version: text("version") })
    }
}
