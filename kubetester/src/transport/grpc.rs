//! gRPC: `hello.Hello/SayHello`, over plain connections or the balanced channel.

mod connect;
mod status;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use proto::hello::{Greeting, Introduction, hello_client::HelloClient};
use serde_json::json;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Channel};

use super::Greeted;
use crate::{
    answered::{Evidence, PodFrom},
    engine::Outcome,
};

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
    Plain(HelloClient<Channel>, Peer),
    Balanced(HelloClient<balanced_channel::Channel>, balanced_channel::Channel),
}

/// The other end of a plain connection, once there is one. Read only where somebody asks for it.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Option<SocketAddr>>>);

/// One caller.
pub struct Caller {
    client: Client,
    shared: Arc<Shared>,
}

// === impl Server ===

impl Server {
    pub(super) fn caller(&self, index: usize) -> Caller {
        Caller { client: self.clients[index % self.clients.len()].clone(), shared: self.shared.clone() }
    }
}

// === impl Caller ===

impl Caller {
    pub(super) async fn call(&mut self) -> Outcome {
        match self.say_hello(String::new()).await {
            Ok(answer) => Outcome { pod: self.pod(answer), error: None },
            Err(status) => Outcome { pod: None, error: Some(status::refusal(&status)) },
        }
    }

    /// Calls with a name, and says which peer answered. One call at a time: of a balanced channel, the peer is
    /// the one whose count went up.
    pub(super) async fn greet(&mut self, name: &str) -> Result<Greeted, String> {
        let before = self.answered_by_each();
        let answer = self.say_hello(name.to_owned()).await.map_err(|status| status::refusal(&status))?;
        let Introduction { name, version, hostname } = answer.into_inner();
        let peer = match &self.client {
            Client::Plain(_, peer) => peer.get(),
            Client::Balanced(..) => {
                let now = self.answered_by_each();
                now.into_iter().find(|count| !before.contains(count)).map(|(address, _)| address)
            }
        };
        Ok(Greeted { name, version, hostname, peer })
    }

    async fn say_hello(&mut self, name: String) -> Result<Response<Introduction>, Status> {
        let mut request = Request::new(Greeting { name });
        if !self.shared.metadata.is_empty() {
            *request.metadata_mut() = self.shared.metadata.clone();
        }
        match &mut self.client {
            Client::Plain(client, _) => client.say_hello(request).await,
            Client::Balanced(client, _) => client.say_hello(request).await,
        }
    }

    fn answered_by_each(&self) -> Vec<(SocketAddr, u64)> {
        match &self.client {
            Client::Plain(..) => Vec::new(),
            Client::Balanced(_, channel) => {
                let subchannels = channel.snapshot().subchannels;
                subchannels.iter().map(|one| (one.address, one.succeeded)).collect()
            }
        }
    }

    fn pod(&self, answer: Response<Introduction>) -> Option<String> {
        let (metadata, answer, _) = answer.into_parts();
        let peer = match (&self.shared.pod_from, &self.client) {
            (PodFrom::Known, _) => return Some(answer.hostname).filter(|name| !name.is_empty()),
            (PodFrom::Peer, Client::Plain(_, peer)) => peer.get(),
            _ => None,
        };
        let Introduction { name, version, hostname } = answer;
        let body = json!({ "name": name, "version": version, "hostname": hostname }).to_string();
        // tonic hands headers and trailers out as one.
        let headers = metadata.into_headers();
        self.shared.pod_from.find(Evidence { headers: &headers, trailers: None, body: body.as_bytes(), peer })
    }
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
