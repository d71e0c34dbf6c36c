//! The client of one caller: over a plain connection, or over the balanced channel.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use balanced_channel::COMPRESSION_ENCODINGS;
use bytes::Bytes;
use http::HeaderMap;
use prost_reflect::DescriptorPool;
use tonic::{Status, Streaming, client::Grpc, metadata::MetadataMap, transport::Channel};

use super::{
    observed::{LastResponse, Observed},
    options::GrpcOptions,
    prepared::{PreparedMethod, Response},
    reflection::Reflection,
    status,
};
use crate::{
    method::{EncodedResponse, MethodError, MethodName},
    pod_name::Pod,
    tally::Messages,
};

/// The connection that callers share.
pub(super) enum Connection {
    Plain(Channel, Peer),
    Balanced(balanced_channel::Channel),
}

/// The client of one caller.
pub(super) struct Client {
    pub(super) channel: AnyChannel,
    pub(super) last: LastResponse,
    options: GrpcOptions,
}

pub(super) enum AnyChannel {
    Plain(Grpc<Observed<Channel>>, Peer),
    Balanced(Grpc<Observed<balanced_channel::Channel>>),
}

/// The peer address of a plain connection, once it is connected.
#[derive(Clone, Default)]
pub(super) struct Peer(Arc<Mutex<Option<SocketAddr>>>);

/// A query to server reflection.
pub(super) enum ReflectionQuery<'a> {
    Service(&'a MethodName),
    Symbol(&'a str),
}

// === impl Client ===

impl Client {
    pub(super) async fn call(
        &mut self,
        prepared: &PreparedMethod,
        metadata: &MetadataMap,
        messages: Option<&mut Messages>,
    ) -> Result<Response, Status> {
        let response = match &mut self.channel {
            AnyChannel::Plain(client, _) => prepared.call(client, metadata, messages).await,
            AnyChannel::Balanced(client) => prepared.call(client, metadata, messages).await,
        };
        response.map_err(|status| self.explain(status))
    }

    pub(super) async fn stream(
        &mut self,
        prepared: &PreparedMethod,
        metadata: &MetadataMap,
        on_message: &mut (dyn FnMut(&Bytes) + Send),
    ) -> Result<Response, Status> {
        let response = match &mut self.channel {
            AnyChannel::Plain(client, _) => prepared.stream(client, metadata, on_message).await,
            AnyChannel::Balanced(client) => prepared.stream(client, metadata, on_message).await,
        };
        response.map_err(|status| self.explain(status))
    }

    /// Opens a stream.
    pub(super) async fn open(
        &mut self,
        prepared: &PreparedMethod,
        metadata: &MetadataMap,
    ) -> Result<(HeaderMap, Streaming<Bytes>), Status> {
        match &mut self.channel {
            AnyChannel::Plain(client, _) => prepared.open(client, metadata).await,
            AnyChannel::Balanced(client) => prepared.open(client, metadata).await,
        }
    }

    /// Returns the status of a call, with the name of the flag if it is tonic's own for a message above the limit.
    pub(super) fn explain(&self, status: Status) -> Status {
        match self.last.get().complete {
            true => status,
            false => status::message_too_large(&status, self.options.max_message_size).unwrap_or(status),
        }
    }

    pub(super) async fn reflect(
        &self,
        metadata: &MetadataMap,
        question: ReflectionQuery<'_>,
    ) -> Result<DescriptorPool, MethodError> {
        match (&self.channel, question) {
            (AnyChannel::Plain(client, _), ReflectionQuery::Service(name)) => {
                Reflection::new(client.clone(), metadata).service(name).await
            }
            (AnyChannel::Plain(client, _), ReflectionQuery::Symbol(name)) => {
                Reflection::new(client.clone(), metadata).symbol(name).await
            }
            (AnyChannel::Balanced(client), ReflectionQuery::Service(name)) => {
                Reflection::new(client.clone(), metadata).service(name).await
            }
            (AnyChannel::Balanced(client), ReflectionQuery::Symbol(name)) => {
                Reflection::new(client.clone(), metadata).symbol(name).await
            }
        }
    }

    /// Returns the pod that sent the response to the last call.
    pub(super) fn pod(
        &self,
        prepared: &PreparedMethod,
        response: &Response,
        succeeded: bool,
    ) -> Result<Option<Pod>, String> {
        let headers: &HeaderMap = &response.headers;
        let peer = if prepared.reader.wants_peer() { self.peer() } else { None };
        prepared.reader.pod(EncodedResponse {
            headers,
            trailers: response.trailers.as_ref(),
            message: response.message.as_deref(),
            succeeded,
            peer,
        })
    }

    /// Returns the peer that sent the response to the last call, if it is known.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.channel {
            AnyChannel::Plain(_, peer) => peer.get(),
            AnyChannel::Balanced(_) => self.last.get().peer,
        }
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn client(&self, options: GrpcOptions) -> Client {
        let last = LastResponse::default();
        let channel = match self {
            Self::Plain(channel, peer) => {
                AnyChannel::Plain(grpc(channel.clone(), last.clone(), options), peer.clone())
            }
            Self::Balanced(channel) => AnyChannel::Balanced(grpc(channel.clone(), last.clone(), options)),
        };
        Client { channel, last, options }
    }
}

/// Returns a client that observes responses, limits them, and accepts compressed ones.
fn grpc<S>(channel: S, last: LastResponse, options: GrpcOptions) -> Grpc<Observed<S>> {
    let grpc = Grpc::new(Observed::new(channel, last, options.max_header_list_size));
    let grpc = grpc.max_decoding_message_size(options.max_message_size as usize);
    COMPRESSION_ENCODINGS.iter().fold(grpc, |grpc, encoding| grpc.accept_compressed(*encoding))
}

// === impl Peer ===

impl Peer {
    pub(super) fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}
