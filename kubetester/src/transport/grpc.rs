//! gRPC: one method, over plain connections or the balanced channel.

mod codec;
mod connect;
mod reflection;
mod status;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use balanced_channel::ResponseBody;
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};
use tonic::{
    Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Body as HttpBody, StdError},
    metadata::MetadataMap,
    transport::Channel,
};
use tower::util::MapResponse;

use self::codec::Encoded;
use super::{Greeted, Setup, Unreachable};
use crate::{
    conditions::EndpointState,
    engine::Outcome,
    method::{Choice, Method, MethodName, PodExtractor, Reader, Unfit},
    pod_name::PodFrom,
    sanitize,
    target::Target,
};

/// The state that all callers of one target share.
pub(super) struct Server {
    /// Callers are dealt to these.
    clients: Vec<Client>,
    shared: Arc<Shared>,
    /// Only of a balanced target.
    channel: Option<balanced_channel::Channel>,
}

struct Shared {
    metadata: MetadataMap,
    pod_from: PodFrom,
    choice: Choice,
    /// Empty until the server was asked for the method.
    called: OnceCell<Called>,
}

/// A method, and how its answers are read.
struct Called {
    method: Method,
    reader: Reader,
}

#[derive(Clone)]
enum Client {
    Plain(Grpc<Channel>, Peer),
    Balanced(Grpc<Noted>),
}

/// A balanced channel whose responses say, as a [`SocketAddr`] among their extensions, who sent them.
type Noted = MapResponse<balanced_channel::Channel, fn(Response<ResponseBody>) -> Response<ResponseBody>>;

/// The other end of a plain connection, once there is one. Read only where somebody asks for it.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Option<SocketAddr>>>);

/// One caller.
pub struct Caller {
    client: Client,
    shared: Arc<Shared>,
}

/// An answer as it came.
struct Answer {
    headers: HeaderMap,
    /// Only of a stream: tonic puts those of a single answer with the headers.
    trailers: Option<HeaderMap>,
    /// The first message; a stream may have none.
    message: Option<Bytes>,
    /// The peer that sent it, if the response has it.
    peer: Option<SocketAddr>,
}

// === impl Server ===

impl Server {
    fn new(clients: Vec<Client>, setup: Setup, called: Option<Called>) -> Self {
        let metadata = MetadataMap::from_headers(setup.headers);
        let called = OnceCell::new_with(called);
        let shared = Shared { metadata, pod_from: setup.pod_from, choice: setup.method, called };
        Self { clients, shared: Arc::new(shared), channel: None }
    }

    /// Returns the endpoints of a balanced target as they are now.
    pub(super) fn endpoints(&self) -> Vec<EndpointState> {
        let subchannels = self.channel.as_ref().map(|channel| channel.snapshot().subchannels);
        let endpoint = |subchannel: balanced_channel::SubchannelSnapshot| EndpointState {
            address: subchannel.address.to_string(),
            ready: subchannel.state == balanced_channel::Connectivity::Ready,
            last_error: subchannel.last_error.map(sanitize::reason),
        };
        subchannels.unwrap_or_default().into_iter().map(endpoint).collect()
    }

    pub(super) fn caller(&self, index: usize) -> Caller {
        Caller { client: self.clients[index % self.clients.len()].clone(), shared: self.shared.clone() }
    }

    /// Has the server say what the method is, unless that is known.
    pub(super) async fn learn(&self, target: &Target, patience: Duration) -> Result<(), Unreachable> {
        let learned = timeout(patience, self.shared.called(&self.clients[0])).await;
        let patience = humantime::format_duration(patience);
        let late = |_| Err(Unfit::Untold(format!("no answer to reflection within {patience}")));
        learned.unwrap_or_else(late).map(drop).map_err(|unfit| match unfit {
            Unfit::Usage(sentence) => Unreachable::Usage(format!("{target}: {sentence}")),
            Unfit::Untold(why) => {
                let method =
                    self.shared.choice.method.as_ref().map(MethodName::to_string).unwrap_or_default();
                Unreachable::Untold { target: target.to_string(), method, why }
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
            Err(unfit) => return Outcome { pod: None, error: Some(unfit.to_string()) },
        };
        let (answer, error) = match client.call(called, &shared.metadata).await {
            Ok(answer) => (answer, None),
            Err(status) => {
                let error = Some(status::refusal(&status));
                let headers = status.metadata().clone().into_headers();
                (Answer { headers, trailers: None, message: None, peer: None }, error)
            }
        };
        match called.pod(&answer, client) {
            Ok(pod) => Outcome { pod, error },
            Err(unreadable) => Outcome { pod: None, error: Some(unreadable) },
        }
    }

    /// Calls, and says who answered, and what.
    pub(super) async fn greet(&mut self) -> Result<Greeted, String> {
        let Self { client, shared } = self;
        let called = shared.called(client).await.map_err(|unfit| unfit.to_string())?;
        let answer = client.call(called, &shared.metadata).await;
        let answer = answer.map_err(|status| status::refusal(&status))?;
        let hostname = called.pod(&answer, client)?.unwrap_or_default();
        let peer = client.peer(&answer);
        let said =
            answer.message.map(|message| called.reader.json(&message)).transpose()?.unwrap_or_default();
        let (name, version, said) = match shared.choice.method {
            Some(_) => (String::new(), String::new(), Some(said)),
            None => {
                let answer: Value = serde_json::from_str(&said).unwrap_or_default();
                let text = |field| answer.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                (text("name"), text("version"), None)
            }
        };
        Ok(Greeted { name, version, hostname, said, peer })
    }
}

// === impl Shared ===

impl Shared {
    /// The method. If it has to be asked of the server and is not answered, the next call asks again.
    async fn called(&self, client: &Client) -> Result<&Called, Unfit> {
        self.called.get_or_try_init(|| self.ask(client)).await
    }

    async fn ask(&self, client: &Client) -> Result<Called, Unfit> {
        let name = match self.choice.method()? {
            Ok(method) => return Called::new(method, &self.pod_from),
            Err(name) => name,
        };
        let pool = match client {
            Client::Plain(client, _) => reflection::describe(client.clone(), &self.metadata, name).await,
            Client::Balanced(client) => reflection::describe(client.clone(), &self.metadata, name).await,
        };
        Called::new(Method::find(&pool?, name, self.choice.json())?, &self.pod_from)
    }
}

// === impl Called ===

impl Called {
    /// Returns the method if it is known without reflection.
    fn beforehand(setup: &Setup) -> Result<Option<Self>, Unfit> {
        setup.method.method()?.ok().map(|method| Self::new(method, &setup.pod_from)).transpose()
    }

    fn new(method: Method, pod_from: &PodFrom) -> Result<Self, Unfit> {
        let reader = Reader::new(pod_from, &method.output)?;
        Ok(Self { method, reader })
    }

    fn pod(&self, answer: &Answer, client: &Client) -> Result<Option<String>, String> {
        let Answer { headers, trailers, message, .. } = answer;
        let peer = if self.reader.wants_peer() { client.peer(answer) } else { None };
        self.reader.pod(PodExtractor {
            headers,
            trailers: trailers.as_ref(),
            message: message.as_deref(),
            peer,
        })
    }

    /// Calls once. A stream is read to its end.
    async fn call<T>(&self, client: &mut Grpc<T>, metadata: &MetadataMap) -> Result<Answer, Status>
    where
        T: GrpcService<Body>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let Method { path, request, streams, .. } = &self.method;
        let codec = Encoded(request.len());
        let mut request = Request::new(request.clone());
        if !metadata.is_empty() {
            *request.metadata_mut() = metadata.clone();
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        if !streams {
            let answer = client.unary(request, path.clone(), codec).await?;
            let (metadata, message, extensions) = answer.into_parts();
            let (headers, peer) = (metadata.into_headers(), extensions.get().copied());
            return Ok(Answer { headers, trailers: None, message: Some(message), peer });
        }
        let answer = client.server_streaming(request, path.clone(), codec).await?;
        let (metadata, mut stream, extensions) = answer.into_parts();
        let message = stream.message().await?;
        while stream.message().await?.is_some() {}
        let trailers = stream.trailers().await?.map(MetadataMap::into_headers);
        let (headers, peer) = (metadata.into_headers(), extensions.get().copied());
        Ok(Answer { headers, trailers, message, peer })
    }
}

// === impl Client ===

impl Client {
    async fn call(&mut self, called: &Called, metadata: &MetadataMap) -> Result<Answer, Status> {
        match self {
            Self::Plain(client, _) => called.call(client, metadata).await,
            Self::Balanced(client) => called.call(client, metadata).await,
        }
    }

    /// Returns the peer that sent the response, if it is known.
    fn peer(&self, answer: &Answer) -> Option<SocketAddr> {
        match self {
            Self::Plain(_, peer) => peer.get(),
            Self::Balanced(_) => answer.peer,
        }
    }
}

/// For [`Noted`].
fn note(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let peer = response.body().peer();
    response.extensions_mut().insert(peer);
    response
}

// === impl Peer ===

impl Peer {
    fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}
