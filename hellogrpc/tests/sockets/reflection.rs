//! Server reflection, v1 and v1alpha, through tonic-reflection's clients.

use std::collections::BTreeSet;

use hellogrpc::Config;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use service::testing::bounded;

use crate::Running;

/// Requests of both versions: the names of the services, and the file that has `symbol`.
macro_rules! reflect {
    ($version:ident, $running:expr, $symbol:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let requests = tokio_stream::iter([
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol($symbol.into())),
        ]);
        let mut client = ServerReflectionClient::new($running.channel().await);
        let mut answers = bounded(client.server_reflection_info(requests)).await.unwrap().into_inner();
        let mut next = async || bounded(answers.message()).await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
        let services: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
        let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file") };
        let files = files.file_descriptor_proto.into_iter();
        (services, files.map(|file| FileDescriptorProto::decode(&*file).unwrap()).collect::<Vec<_>>())
    }};
}

fn services_with(reflection: &str) -> BTreeSet<String> {
    let greetings = ["hello.Hello", "helloworld.Greeter", "echo.EchoServer", "message.Echo"];
    greetings.into_iter().chain(["grpc.health.v1.Health", reflection]).map(String::from).collect()
}

#[tokio::test]
async fn v1_lists_all_services_and_their_files() {
    let running = Running::start(Config::default()).await;
    let (services, files) = reflect!(v1, running, "hello.Hello");
    let expected = services_with("grpc.reflection.v1.ServerReflection");
    assert_eq!(services, expected);
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].name(), files[0].package()), ("hello.proto", "hello"));
    let method = &files[0].service[0].method[0];
    assert_eq!((method.name(), method.input_type()), ("SayHello", ".hello.Greeting"));
}

#[tokio::test]
async fn v1alpha_answers_as_v1() {
    let running = Running::start(Config::default()).await;
    let (services, files) = reflect!(v1alpha, running, "hello.Introduction");
    let expected = services_with("grpc.reflection.v1alpha.ServerReflection");
    assert_eq!(services, expected);
    let fields: Vec<_> = files[0].message_type[1].field.iter().map(|it| (it.name(), it.number())).collect();
    assert_eq!(fields, [("name", 1), ("version", 2), ("hostname", 3)]);
}
