//! A gRPC server that is not part of this system, with or without reflection.

use std::{convert::Infallible, fs, future::ready, net::SocketAddr, pin::Pin};

use axum::{
    Router,
    body::{self, Body},
    http::{HeaderMap, HeaderValue, Uri},
    response::Response,
    routing::post,
};
use bytes::{BufMut as _, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use proto::hello::Greeting;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Status, Streaming, async_trait,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_reflection::{
    pb::v1::{
        ServerReflectionRequest, ServerReflectionResponse,
        server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
        server_reflection_server::{ServerReflection, ServerReflectionServer},
    },
    server::Builder,
};

pub(super) const SERVICE: &str = r#"
    syntax = "proto3";
    package helloworld;
    import "types/reply.proto";
    service Greeter {
        rpc SayHello(HelloRequest) returns (types.HelloReply);
        rpc SayHelloThrice(HelloRequest) returns (stream types.HelloReply);
        rpc Refuse(HelloRequest) returns (types.HelloReply);
        rpc Chat(stream HelloRequest) returns (types.HelloReply);
    }
    message HelloRequest { string name = 1; }
"#;

const REPLY: &str = r#"
    syntax = "proto3";
    package types;
    import "google/protobuf/timestamp.proto";
    message HelloReply { string message = 1; google.protobuf.Timestamp at = 2; }
"#;

/// The response of a server to a reflection request; `None` ends the stream.
pub(super) type Says = fn(MessageRequest) -> Option<Result<MessageResponse, Status>>;

/// The reflection services of a server.
#[derive(Clone, Copy)]
pub(super) enum Reflection {
    None,
    V1,
    V1alpha,
    /// v1alpha; v1 is answered with this status.
    V1Fails(&'static str),
    Says(Says),
}

struct Reflecting(Says);

/// The name whose greeting never ends: its messages arrive, and the call stays open.
pub(super) const ENDLESS: &str = "endless";

/// Starts the greeter of a pod.
pub(super) async fn greeter(pod: &'static str, reflection: Reflection) -> SocketAddr {
    let greeter = Router::new().fallback(move |uri: Uri, body: Body| greet(pod, uri, body));
    let descriptors = || Builder::configure().register_encoded_file_descriptor_set(descriptors().leak());
    let routes = match reflection {
        Reflection::None => Routes::from(greeter),
        Reflection::V1 => Routes::from(greeter).add_service(descriptors().build_v1().unwrap()),
        Reflection::V1alpha => Routes::from(greeter).add_service(descriptors().build_v1alpha().unwrap()),
        Reflection::V1Fails(code) => {
            let fails = Router::new().route(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                post(move || async move {
                    let response = Response::builder().header("content-type", "application/grpc");
                    response.header("grpc-status", code).body(Body::empty()).unwrap()
                }),
            );
            Routes::from(greeter.merge(fails)).add_service(descriptors().build_v1alpha().unwrap())
        }
        Reflection::Says(says) => {
            Routes::from(greeter).add_service(ServerReflectionServer::new(Reflecting(says)))
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// Returns a folder with the two .proto files.
pub(super) fn protos() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("types")).unwrap();
    fs::write(folder.path().join("helloworld.proto"), SERVICE).unwrap();
    fs::write(folder.path().join("types/reply.proto"), REPLY).unwrap();
    folder
}

pub(super) fn descriptors() -> Vec<u8> {
    protox::compile(["helloworld.proto"], [protos().path()]).unwrap().encode_to_vec()
}

async fn greet(pod: &'static str, uri: Uri, body: Body) -> Response {
    let mut answer = Response::builder().header("content-type", "application/grpc").header("x-pod", pod);
    let count = match uri.path() {
        "/helloworld.Greeter/SayHello" => 1,
        "/helloworld.Greeter/SayHelloThrice" => 3,
        path => {
            let (code, message) = match path {
                "/helloworld.Greeter/Refuse" => ("9", "closed today"),
                _ => ("12", "no such method"),
            };
            answer = answer.header("grpc-status", code).header("grpc-message", message);
            return answer.body(Body::empty()).unwrap();
        }
    };
    let body = body::to_bytes(body, 1 << 20).await.unwrap();
    // The first field of both messages is a string with field number 1, like that of this message.
    let Greeting { name } = Greeting::decode(&body[5..]).unwrap();
    let mut frames = BytesMut::new();
    for _ in 0..count {
        let reply = Greeting { name: format!("Hello {name} from {pod}") }.encode_to_vec();
        frames.put_u8(0);
        frames.put_u32(reply.len().try_into().unwrap());
        frames.extend_from_slice(&reply);
    }
    if name == ENDLESS {
        let frames = stream::once(ready(Ok::<_, Infallible>(frames.freeze())));
        return answer.body(Body::from_stream(frames.chain(stream::pending()))).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-node", HeaderValue::from_static(pod));
    answer.body(Body::new(Full::new(frames.freeze()).with_trailers(ready(Some(Ok(trailers)))))).unwrap()
}

#[async_trait]
impl ServerReflection for Reflecting {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<tonic::Response<Self::ServerReflectionInfoStream>, Status> {
        let Self(says) = *self;
        let answers = request.into_inner().map(move |question| {
            let answer = says(question?.message_request.unwrap()).transpose()?;
            Ok(answer.map(|answer| ServerReflectionResponse {
                message_response: Some(answer),
                ..ServerReflectionResponse::default()
            }))
        });
        let answers = answers.take_while(|answer| ready(!matches!(answer, Ok(None))));
        let answers = answers.map(|answer| answer.map(|answer| answer.expect("what is none was not taken")));
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}
