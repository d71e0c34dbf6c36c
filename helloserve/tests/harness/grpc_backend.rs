//! A scripted gRPC backend that reports the calls it receives.

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

/// The future of a call's outcome.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Introduction, Status>> + Send>>;

pub(crate) struct GrpcBackend {
    pub(crate) addr: SocketAddr,
    calls: mpsc::UnboundedReceiver<(MetadataMap, Greeting)>,
}

struct ScriptedHello<F> {
    respond: F,
    calls: mpsc::UnboundedSender<(MetadataMap, Greeting)>,
}

#[tonic::async_trait]
impl<F: Fn(String) -> Outcome + Send + Sync + 'static> Hello for ScriptedHello<F> {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        let (metadata, _, greeting) = request.into_parts();
        let name = greeting.name.clone();
        let _ = self.calls.send((metadata, greeting));
        (self.respond)(name).await.map(Response::new)
    }
}

/// Starts a backend. `respond` gets the name in each call and returns the call's outcome.
pub(crate) async fn grpc_backend(respond: impl Fn(String) -> Outcome + Send + Sync + 'static) -> GrpcBackend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, calls) = mpsc::unbounded_channel();
    let service = HelloServer::new(ScriptedHello { respond, calls: sender });
    let serving =
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    GrpcBackend { addr, calls }
}

/// Starts a backend that fails every call with this status.
pub(crate) async fn failing(status: Status) -> GrpcBackend {
    grpc_backend(move |_| Box::pin(std::future::ready(Err(status.clone())))).await
}

/// Returns a response of `pod` that repeats the name.
pub(crate) fn introduction(name: String, pod: &str) -> Introduction {
    Introduction { name, version: "v1-hellogrpc".to_owned(), hostname: pod.to_owned() }
}

// === impl GrpcBackend ===

impl GrpcBackend {
    /// Returns the target for the gateway's configuration.
    pub(crate) fn target(&self) -> Target {
        ipv4(self.addr)
    }

    /// Waits for the next call.
    pub(crate) async fn next_call(&mut self) -> (MetadataMap, Greeting) {
        bounded(self.calls.recv()).await.expect("the backend runs as long as the test")
    }

    /// Returns the number of calls since the last call of this method.
    pub(crate) fn calls(&mut self) -> usize {
        std::iter::from_fn(|| self.calls.try_recv().ok()).count()
    }
}
