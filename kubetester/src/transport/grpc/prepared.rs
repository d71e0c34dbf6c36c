//! A method that is ready to be called, with its request and the reader of its responses.

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;
use tonic::{
    Request, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Body as HttpBody, StdError},
    metadata::MetadataMap,
};

use super::codec::Encoded;
use crate::{
    method::{Method, MethodError, Reader},
    pod_name::PodFrom,
    tally::Messages,
    transport::Setup,
};

/// A method and the reader of its responses.
pub(super) struct PreparedMethod {
    pub(super) method: Method,
    pub(super) reader: Reader,
}

/// The response to one call.
pub(super) struct Response {
    pub(super) headers: HeaderMap,
    /// The trailers. After [`PreparedMethod::call`] of a method that is no stream, they are with the headers.
    pub(super) trailers: Option<HeaderMap>,
    /// The first message; a stream may have none.
    pub(super) message: Option<Bytes>,
    /// The number of messages.
    pub(super) messages: u64,
}

// === impl Response ===

impl Response {
    /// Creates the response of a stream that is still open, from its headers and its first message.
    pub(super) fn stream_so_far(headers: HeaderMap, message: Option<Bytes>) -> Self {
        Self { headers, trailers: None, messages: u64::from(message.is_some()), message }
    }
}

// === impl PreparedMethod ===

impl PreparedMethod {
    /// Returns the method if it is known without reflection.
    pub(super) fn without_reflection(setup: &Setup, peer_is_pod: bool) -> Result<Option<Self>, MethodError> {
        setup.method.method()?.ok().map(|method| Self::new(method, &setup.pod_from, peer_is_pod)).transpose()
    }

    pub(super) fn new(method: Method, pod_from: &PodFrom, peer_is_pod: bool) -> Result<Self, MethodError> {
        let reader = Reader::new(pod_from, &method.output, peer_is_pod)?;
        Ok(Self { method, reader })
    }

    /// Calls once. A stream is read to its end, and its messages are counted.
    pub(super) async fn call<T>(
        &self,
        client: &mut Grpc<T>,
        metadata: &MetadataMap,
        messages: Option<&mut Messages>,
    ) -> Result<Response, Status>
    where
        T: GrpcService<Body>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        if let Some(messages) = messages {
            let begin = Instant::now();
            let mut on_message = |_: &Bytes| {
                messages.count += 1;
                messages.first_after.get_or_insert_with(|| begin.elapsed());
            };
            return self.stream(client, metadata, &mut on_message).await;
        }
        let request = self.request(client, metadata).await?;
        let codec = Encoded(self.method.request.len());
        let response = client.unary(request, self.method.path.clone(), codec).await?;
        let (metadata, message, _) = response.into_parts();
        let headers = metadata.into_headers();
        Ok(Response { headers, trailers: None, message: Some(message), messages: 1 })
    }

    /// Calls once, hands each message over as it arrives, and keeps headers and trailers apart.
    pub(super) async fn stream<T>(
        &self,
        client: &mut Grpc<T>,
        metadata: &MetadataMap,
        on_message: &mut (dyn FnMut(&Bytes) + Send),
    ) -> Result<Response, Status>
    where
        T: GrpcService<Body>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let (headers, mut stream) = self.open(client, metadata).await?;
        let with_headers = |mut status: Status| {
            let mut all = headers.clone();
            all.extend(status.metadata().clone().into_headers());
            *status.metadata_mut() = MetadataMap::from_headers(all);
            status
        };
        let (mut first, mut messages) = (None, 0);
        while let Some(message) = stream.message().await.map_err(with_headers)? {
            on_message(&message);
            messages += 1;
            first.get_or_insert(message);
        }
        let trailers = stream.trailers().await.map_err(with_headers)?.map(MetadataMap::into_headers);
        if !self.method.streams && messages != 1 {
            let message = format!("the response has {messages} messages instead of one");
            return Err(with_headers(Status::internal(message)));
        }
        Ok(Response { headers, trailers, message: first, messages })
    }

    /// Opens a stream: waits for the response headers.
    pub(super) async fn open<T>(
        &self,
        client: &mut Grpc<T>,
        metadata: &MetadataMap,
    ) -> Result<(HeaderMap, Streaming<Bytes>), Status>
    where
        T: GrpcService<Body>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let request = self.request(client, metadata).await?;
        let codec = Encoded(self.method.request.len());
        let response = client.server_streaming(request, self.method.path.clone(), codec).await?;
        let (metadata, stream, _) = response.into_parts();
        Ok((metadata.into_headers(), stream))
    }

    async fn request<T>(&self, client: &mut Grpc<T>, metadata: &MetadataMap) -> Result<Request<Bytes>, Status>
    where
        T: GrpcService<Body>,
    {
        let mut request = Request::new(self.method.request.clone());
        if !metadata.is_empty() {
            *request.metadata_mut() = metadata.clone();
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(request)
    }
}
