//! A gRPC backend that answers as a test wants, and hands over the requests it got.

use std::{net::SocketAddr, pin::Pin};

use balanced_channel::Target;
use proto::hello::{
    Greeting, Introduction,
    hello_server::{Hello, HelloServer},
};
use service::testing::bounded;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};

use super::ipv4;

/// What becomes of a call, in time.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Introduction, Status>> + Send>>;

pub(crate) struct GrpcBackend {
    pub(crate) addr: SocketAddr,
    calls: mpsc::UnboundedReceiver<(MetadataMap, Greeting)>,
}

struct Answering<F> {
    answer: F,
    calls: mpsc::UnboundedSender<(MetadataMap, Greeting)>,
}

#[tonic::async_trait]
impl<F: Fn(String) -> Outcome + Send + Sync + 'static> Hello for Answering<F> {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        let (metadata, _, greeting) = request.into_parts();
        let name = greeting.name.clone();
        let _ = self.calls.send((metadata, greeting));
        (self.answer)(name).await.map(Response::new)
    }
}

/// Starts a backend that answers each call, given its name, with what `answer` comes to.
pub(crate) async fn grpc_backend(answer: impl Fn(String) -> Outcome + Send + Sync + 'static) -> GrpcBackend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, calls) = mpsc::unbounded_channel();
    let service = HelloServer::new(Answering { answer, calls: sender });
    let serving =
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    GrpcBackend { addr, calls }
}

/// A backend that answers every call with this status.
pub(crate) async fn failing(status: Status) -> GrpcBackend {
    grpc_backend(move |_| Box::pin(std::future::ready(Err(status.clone())))).await
}

/// An answer that repeats the name, from `pod`.
pub(crate) fn introduction(name: String, pod: &str) -> Introduction {
    Introduction { name, version: "v1-hellogrpc".to_owned(), hostname: pod.to_owned() }
}

// === impl GrpcBackend ===

impl GrpcBackend {
    /// The target for the gateway's configuration.
    pub(crate) fn target(&self) -> Target {
        ipv4(self.addr)
    }

    /// The next call that it got.
    pub(crate) async fn next_call(&mut self) -> (MetadataMap, Greeting) {
        bounded(self.calls.recv()).await.expect("the backend runs as long as the test")
    }

    /// How many calls it got since it was last asked.
    pub(crate) fn calls(&mut self) -> usize {
        std::iter::from_fn(|| self.calls.try_recv().ok()).count()
    }
}
