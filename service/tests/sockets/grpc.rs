//! A gRPC server whose method panics.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::{Identity, Instance, Shutdown, grpc, testing::bounded};
use tokio::net::{TcpListener, TcpStream};
use tonic::{body::Body, server::NamedService, service::Routes};

#[derive(Clone)]
struct Panics;

impl NamedService for Panics {
    const NAME: &'static str = "test.Panics";
}

impl tower::Service<Request<Body>> for Panics {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.uri().path().ends_with("/Works"), "a test");
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn panicking_method_answers_internal() {
    let (_trigger, shutdown) = Shutdown::new();
    let instance = Instance::new(Identity { version: "v1-test".into(), hostname: "pod-1".into() }, shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server =
        grpc::serve(grpc::ServerConfig::default(), Routes::new(Panics), &[], listener, instance.clone());
    tokio::spawn(async move { server.await.unwrap() });

    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for (method, grpc_status) in [("Panics", Some("13")), ("Works", None)] {
        let request = Request::post(format!("http://{addr}/test.Panics/{method}"))
            .header("content-type", "application/grpc")
            .body(axum::body::Body::empty())
            .unwrap();
        let response = bounded(sender.send_request(request)).await.unwrap();
        let status = response.headers().get("grpc-status").map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), status), (200, grpc_status), "{method}");
    }
    assert!(instance.metrics.render().unwrap().contains("\npanics_total 1\n"));
}
