//! Servers whose reflection is absent, silent or wrong: each is reported in one sentence, and no call hangs.

use std::time::Duration;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServiceResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use service::testing::exit_of;

use super::{
    TOOL,
    greeter::{Reflection, Says, descriptors, greeter},
    load,
    servers::silent,
};

fn described(files: Vec<Vec<u8>>) -> Option<Result<MessageResponse, Status>> {
    Some(Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: files })))
}

fn error(code: Code) -> Option<Result<MessageResponse, Status>> {
    let error_message = "what was said".to_owned();
    Some(Ok(MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })))
}

fn listed() -> Option<Result<MessageResponse, Status>> {
    let service = vec![ServiceResponse { name: "helloworld.Greeter".to_owned() }];
    Some(Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service })))
}

/// Returns the file of the service after `change` modified it.
fn changed(change: fn(&mut FileDescriptorProto)) -> Option<Result<MessageResponse, Status>> {
    let files = FileDescriptorSet::decode(&descriptors()[..]).unwrap().file;
    let mut file = files.into_iter().find(|file| file.name() == "helloworld.proto").unwrap();
    change(&mut file);
    described(vec![file.encode_to_vec()])
}

const WRONG: [(Says, &str); 11] = [
    (|_| error(Code::Internal), "gRPC INTERNAL: what was said"),
    (|_| Some(Err(Status::permission_denied("not you"))), "gRPC PERMISSION_DENIED: not you"),
    (|_| None, "leaves a question without an answer"),
    (|_| listed(), "answers another question"),
    (|_| described(vec![b"\xff".to_vec()]), "sends what is no description"),
    (|_| described(vec![]), "asked for helloworld.Greeter, it describes something else"),
    (
        |question| match question {
            MessageRequest::FileContainingSymbol(_) => error(Code::NotFound),
            _ => listed(),
        },
        "lists helloworld.Greeter and does not describe it",
    ),
    (
        |question| match question {
            MessageRequest::FileContainingSymbol(_) => changed(|_| {}),
            _ => error(Code::NotFound),
        },
        "does not describe \"types.HelloReply\"",
    ),
    (|_| changed(|_| {}), "does not describe \"types.HelloReply\""),
    (
        |_| {
            changed(|file| {
                file.dependency.clear();
                file.message_type.clear();
            })
        },
        "does not describe \"helloworld.HelloRequest\"",
    ),
    (|_| changed(|file| file.syntax = Some("proto9".to_owned())), "unknown syntax"),
];

#[tokio::test]
async fn wrong_reflection_is_one_sentence() {
    for (says, words) in WRONG {
        let target = format!("grpc://{}", greeter("pod-a", Reflection::Says(says)).await);
        let exit = load(&target, &["-n", "2", "--method", "helloworld.Greeter/SayHello"]).await;
        assert_eq!(exit.code, Some(3), "{words}: {exit:?}");
        assert_eq!(exit.stderr.lines().count(), 1, "{words}: {}", exit.stderr);
        assert!(
            exit.stderr.contains(words) && exit.stderr.contains("--proto FILE"),
            "{words}: {}",
            exit.stderr
        );
    }
}

/// Returns the two files of the service, without the imports of the first.
fn without_imports(question: MessageRequest) -> Option<Result<MessageResponse, Status>> {
    let wanted = match question {
        MessageRequest::FileContainingSymbol(name) if name == "types.HelloReply" => "types/reply.proto",
        MessageRequest::FileContainingSymbol(_) => "helloworld.proto",
        _ => return error(Code::NotFound),
    };
    let files = FileDescriptorSet::decode(&descriptors()[..]).unwrap().file;
    let mut file = files.into_iter().find(|file| file.name() == wanted).unwrap();
    file.dependency.clear();
    described(vec![file.encode_to_vec()])
}

#[tokio::test]
async fn missing_imports_are_requested_by_symbol() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::Says(without_imports)).await);
    let exit = load(&target, &["-n", "2", "--method", "helloworld.Greeter/SayHello"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn file_of_an_edition_is_read() {
    let edition: Says = |question| match question {
        MessageRequest::FileContainingSymbol(name) if name == "helloworld.Greeter" => changed(|file| {
            file.syntax = Some("editions".to_owned());
            file.dependency.push("google/protobuf/go_features.proto".to_owned());
        }),
        question => without_imports(question),
    };
    let target = format!("grpc://{}", greeter("pod-a", Reflection::Says(edition)).await);
    let exit = load(&target, &["-n", "2", "--method", "helloworld.Greeter/SayHello"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn failing_v1_falls_back_to_v1alpha() {
    for code in ["14", "16", "2", "5", "12"] {
        let address = greeter("pod-a", Reflection::V1Fails(code)).await;
        let exit =
            load(&format!("grpc://{address}"), &["-n", "2", "--method", "helloworld.Greeter/SayHello"]).await;
        assert_eq!(exit.code, Some(0), "{code}: {exit:?}");
    }
}

#[tokio::test]
async fn list_and_describe_print_services_methods_and_templates() {
    let address = greeter("pod-a", Reflection::V1).await;
    let target = format!("grpc://{address}");
    let exit = exit_of(TOOL, &["list", &target], &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    for line in [
        "helloworld.Greeter",
        "  helloworld.Greeter/SayHello",
        "  helloworld.Greeter/SayHelloThrice  (streams responses)",
        "  helloworld.Greeter/Chat  (streams requests)",
    ] {
        assert!(exit.stdout.lines().any(|printed| printed == line), "{line}: {exit:?}");
    }
    let request = r#"    request  helloworld.HelloRequest {"name":""}"#;
    let response = r#"    response types.HelloReply {"at":"1970-01-01T00:00:00Z","message":""}"#;
    for (symbol, code, words) in [
        (&[][..], 0, request),
        (&["helloworld.Greeter"], 0, response),
        (&["helloworld.Greeter/SayHello"], 0, response),
        (&["types.HelloReply"], 0, r#"types.HelloReply {"at":"1970-01-01T00:00:00Z","message":""}"#),
        (&["helloworld.Greeter/SayHelo"], 2, "did you mean SayHello?"),
        (&["helloworld.Nobody"], 2, "the server does not describe helloworld.Nobody"),
    ] {
        let exit = exit_of(TOOL, &[&["describe", &target], symbol].concat(), &[]).await;
        assert_eq!(exit.code, Some(code), "{symbol:?}: {exit:?}");
        let printed = if code == 0 { &exit.stdout } else { &exit.stderr };
        assert!(printed.contains(words), "{symbol:?}: {exit:?}");
    }
    let none = format!("grpc://{}", greeter("pod-a", Reflection::None).await);
    for command in ["list", "describe"] {
        let exit = exit_of(TOOL, &[command, &none], &[]).await;
        assert!(exit.code == Some(3) && exit.stderr.contains("has no reflection"), "{exit:?}");
        let exit = exit_of(TOOL, &[command, "http://127.0.0.1:1/"], &[]).await;
        assert!([Some(2), Some(3)].contains(&exit.code) && exit.stdout.is_empty(), "{exit:?}");
    }
}

#[tokio::test]
async fn unimplemented_method_error_lists_those_of_the_server() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let exit = exit_of(TOOL, &["call", &target, "-n", "1"], &[]).await;
    let line = "the server has grpc.reflection.v1.ServerReflection/ServerReflectionInfo, helloworld.Greeter/SayHello,";
    assert!(exit.stdout.lines().any(|printed| printed.starts_with(line)), "{exit:?}");
    let exit = super::load(&target, &["-n", "1"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stderr.ends_with(&format!("--method, see `kubetester list {target}`\n")), "{exit:?}");
}

#[tokio::test]
async fn endless_imports_are_an_error() {
    let endless: Says = |question| {
        let number = match question {
            MessageRequest::FileByFilename(name) => name.parse::<u64>().unwrap(),
            _ => 0,
        };
        // Each file imports 64 new files.
        let dependency = (1..=64).map(|child| (number * 64 + child).to_string()).collect();
        let name = Some(number.to_string());
        let file = FileDescriptorProto { name, dependency, ..FileDescriptorProto::default() };
        described(vec![file.encode_to_vec()])
    };
    let target = format!("grpc://{}", greeter("pod-a", Reflection::Says(endless)).await);
    let arguments = ["-n", "2", "--method", "helloworld.Greeter/SayHello", "--timeout", "60s"];
    let exit = load(&target, &arguments).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stderr.contains("go on past 4096 files"), "{}", exit.stderr);
}

#[tokio::test]
async fn missing_reflection_and_silence_have_different_errors() {
    let none = format!("grpc://{}", greeter("pod-a", Reflection::None).await);
    let slow: Says = |_| {
        std::thread::sleep(Duration::from_secs(1));
        None
    };
    let slow = format!("grpc://{}", greeter("pod-a", Reflection::Says(slow)).await);
    let silent = format!("grpc://{}", silent().await);
    for (target, words) in [
        (none, "the server has no reflection; say what its methods are with --proto FILE"),
        (slow, "no answer to reflection within 300ms"),
        (silent, "no answer to reflection within 300ms"),
    ] {
        let patience = if words.contains("300ms") { "300ms" } else { "10s" };
        let arguments = ["-n", "2", "--timeout", patience, "--method", "shop.Orders/Get"];
        let exit = load(&target, &arguments).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.contains(words), "{target}: {}", exit.stderr);
    }
}
