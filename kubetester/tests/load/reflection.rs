//! Servers whose reflection is absent, silent or wrong: a sentence each, and no hang.

use std::time::Duration;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServiceResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{
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

/// The file of the service, after something was done to it.
fn changed(change: fn(&mut FileDescriptorProto)) -> Option<Result<MessageResponse, Status>> {
    let files = FileDescriptorSet::decode(&descriptors()[..]).unwrap().file;
    let mut file = files.into_iter().find(|file| file.name() == "helloworld.proto").unwrap();
    change(&mut file);
    described(vec![file.encode_to_vec()])
}

const WRONG: [(Says, &str); 10] = [
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
        "does not describe types/reply.proto: gRPC NOT_FOUND",
    ),
    (|_| changed(|_| {}), "asked for the file types/reply.proto, it describes something else"),
    (
        |_| {
            changed(|file| {
                file.dependency.clear();
                file.message_type.clear();
            })
        },
        "do not fit together",
    ),
];

#[tokio::test]
async fn whatever_is_wrong_with_it_there_is_one_sentence() {
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

#[tokio::test]
async fn files_that_import_each_other_without_end_are_not_followed_for_ever() {
    let endless: Says = |question| {
        let number = match question {
            MessageRequest::FileByFilename(name) => name.parse::<u64>().unwrap(),
            _ => 0,
        };
        // Each imports sixty-four new ones.
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
async fn no_reflection_and_no_answer_are_told_apart() {
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
        let arguments = ["-n", "2", "--timeout", patience, "--method", "helloworld.Greeter/SayHello"];
        let exit = load(&target, &arguments).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.contains(words), "{target}: {}", exit.stderr);
    }
}
