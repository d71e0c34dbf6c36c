//! The services of a simulated backend: the hello service, and streams of any length.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, future::BoxFuture};
use http::{Request, Response};
use hyper::body::Incoming;
use proto::hello::{
    Greeting, Introduction,
    hello_server::{Hello, HelloServer},
};
use tokio::time::sleep;
use tonic::{
    Status, Streaming,
    body::Body,
    server::{Grpc, ServerStreamingService, StreamingService},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// `rpc Count(Greeting) returns (stream Introduction)`: a response every 100 ms. The name has their number.
pub const COUNT: &str = "/test.Streams/Count";
/// `rpc Echo(stream Greeting) returns (stream Introduction)`: a response to each message.
pub const ECHO: &str = "/test.Streams/Echo";

/// The hello service of one backend. The name in a greeting is the time of the response, in milliseconds.
#[derive(Clone)]
pub struct Greeter {
    pub address: SocketAddr,
    pub calls: Arc<AtomicU64>,
}

type Introductions = Pin<Box<dyn Stream<Item = Result<Introduction, Status>> + Send>>;
type ResponseFuture<T> = BoxFuture<'static, Result<tonic::Response<T>, Status>>;

// === impl Greeter ===

impl Greeter {
    pub async fn serve(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let mut grpc = Grpc::new(ProstCodec::<Introduction, Greeting>::default());
        match request.uri().path() {
            COUNT => Ok(grpc.server_streaming(Count(self), request).await),
            ECHO => Ok(grpc.streaming(Echo(self), request).await),
            _ => HelloServer::new(self).call(request).await,
        }
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn introduce(&self, name: String) -> Introduction {
        Introduction { name, version: "v1".into(), hostname: self.address.to_string() }
    }
}

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(
        &self,
        request: tonic::Request<Greeting>,
    ) -> Result<tonic::Response<Introduction>, Status> {
        self.called();
        let name = request.into_inner().name;
        let work = name.parse().unwrap_or(0);
        if work > 0 {
            sleep(Duration::from_millis(work)).await;
        }
        Ok(tonic::Response::new(self.introduce(name)))
    }
}

struct Count(Greeter);
struct Echo(Greeter);

impl ServerStreamingService<Greeting> for Count {
    type Response = Introduction;
    type ResponseStream = Introductions;
    type Future = ResponseFuture<Introductions>;

    fn call(&mut self, request: tonic::Request<Greeting>) -> Self::Future {
        self.0.called();
        let greeter = self.0.clone();
        let count: u64 = request.into_inner().name.parse().unwrap_or(0);
        let answers = futures_util::stream::iter(0..count).then(move |number| {
            let greeter = greeter.clone();
            async move {
                sleep(Duration::from_millis(100)).await;
                Ok(greeter.introduce(number.to_string()))
            }
        });
        Box::pin(async move { Ok(tonic::Response::new(answers.boxed())) })
    }
}

impl StreamingService<Greeting> for Echo {
    type Response = Introduction;
    type ResponseStream = Introductions;
    type Future = ResponseFuture<Introductions>;

    fn call(&mut self, request: tonic::Request<Streaming<Greeting>>) -> Self::Future {
        self.0.called();
        let greeter = self.0.clone();
        let answers = request.into_inner().map(move |greeting| Ok(greeter.introduce(greeting?.name)));
        Box::pin(async move { Ok(tonic::Response::new(answers.boxed())) })
    }
}
