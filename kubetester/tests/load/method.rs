//! `--method`: calls any method of any gRPC server, described by reflection or by .proto files.

use service::testing::exit_of;

use super::{
    TOOL,
    greeter::{Reflection, greeter, protos},
    load, result,
    servers::{Draws, nobody},
};

const METHOD: [&str; 2] = ["--method", "helloworld.Greeter/SayHello"];
const ANN: [&str; 2] = ["--data", r#"{"name": "Ann"}"#];
const POD: [&str; 2] = ["--pod-from", "regex:from (.*?)\""];

#[tokio::test]
async fn method_is_found_by_reflection_or_in_files() {
    let folder = protos();
    let file = folder.path().join("helloworld.proto");
    let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    for (reflection, arguments) in [
        (Reflection::V1, &[][..]),
        (Reflection::V1alpha, &[]),
        (Reflection::None, &["--proto", file]),
        (Reflection::None, &["--proto", "helloworld.proto", "-I", folder]),
    ] {
        let addresses = [
            greeter("pod-a", reflection).await,
            greeter("pod-b", reflection).await,
            greeter("pod-c", reflection).await,
        ];
        let target = format!("ipv4:{},{},{}", addresses[0], addresses[1], addresses[2]);
        let arguments = [&METHOD[..], &POD, &["-n", "90", "-c", "1"], arguments].concat();
        let result = result(&target, &arguments).await;
        assert_eq!(
            (&result["succeeded"], &result["balance"]["pods"]),
            (&90.into(), &3.into()),
            "{arguments:?}"
        );
        assert_eq!(result["balance"]["spread"], "even", "{arguments:?}");
    }
}

#[tokio::test]
async fn pod_is_found_in_message_metadata_or_peer() {
    let address = greeter("pod-a", Reflection::V1).await;
    let target = format!("grpc://{address}");
    for (method, place, pod) in [
        ("SayHello", "/message", "Hello Ann from pod-a"),
        ("SayHello", "regex:from ([a-z-]*)", "pod-a"),
        ("SayHello", "header:x-pod", "pod-a"),
        ("SayHello", "header:x-node", "pod-a"),
        ("SayHello", "peer", &address.to_string()),
        ("SayHelloThrice", "/message", "Hello Ann from pod-a"),
        ("SayHelloThrice", "header:x-node", "pod-a"),
    ] {
        let method = format!("helloworld.Greeter/{method}");
        let arguments =
            [&["--method", &method, "--pod-from", place, "-n", "8", "-c", "2"][..], &ANN].concat();
        let result = result(&target, &arguments).await;
        assert_eq!(
            (&result["succeeded"], &result["pods"][0]["name"]),
            (&8.into(), &pod.into()),
            "{method} {place}"
        );
        assert_eq!(result["pods"].as_array().unwrap().len(), 1, "{method} {place}");
    }
    let other = greeter("pod-b", Reflection::V1).await;
    for method in ["helloworld.Greeter/SayHello", "helloworld.Greeter/SayHelloThrice"] {
        let arguments = ["--method", method, "--pod-from", "peer", "-n", "8", "-c", "1"];
        let balanced = result(&format!("ipv4:{address},{other}"), &arguments).await;
        let pods = balanced["pods"].as_array().unwrap();
        let mut peers = [address.to_string(), other.to_string()];
        peers.sort();
        assert_eq!(pods.iter().map(|pod| &pod["name"]).collect::<Vec<_>>(), peers.each_ref(), "{method}");
        assert!(pods.iter().all(|pod| pod["calls"] == 4), "{method}: {balanced}");
    }
    // Without --pod-from, the address of a balanced target's endpoint is the pod's name.
    let balanced = format!("ipv4:{address},{other}");
    let known = load(&balanced, &[&METHOD[..], &["-n", "8", "-c", "1"]].concat()).await;
    assert!(
        known.stdout.contains(&address.to_string()) && known.stdout.contains(&other.to_string()),
        "{known:?}"
    );
    assert!(known.stdout.ends_with("pods are named by the address of the peer\n"), "{known:?}");
    let known = result(&target, &[&METHOD[..], &["-n", "8"]].concat()).await;
    assert_eq!((&known["unnamed"], &known["balance"]["spread"]), (&8.into(), &"unknown".into()));
}

#[tokio::test]
async fn status_counts_as_an_error_of_its_pod() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let arguments = ["--method", "helloworld.Greeter/Refuse", "--pod-from", "header:x-pod", "-n", "4"];
    let result = result(&target, &[&arguments[..], &["--max-errors", "100%"]].concat()).await;
    assert_eq!(result["errors"][0]["cause"], "gRPC FAILED_PRECONDITION: closed today");
    assert_eq!((&result["pods"][0]["name"], &result["pods"][0]["errors"]), (&"pod-a".into(), &4.into()));
}

#[tokio::test]
async fn call_retries_reflection_and_prints_the_response() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let arguments = ["call", &target, "--pod-from", "header:x-pod", "-n", "1"];
    let exit = exit_of(TOOL, &[&arguments[..], &METHOD, &ANN].concat(), &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let mut lines = exit.stdout.lines();
    assert!(lines.next().unwrap().ends_with(" Hello Ann from pod-a"), "{}", exit.stdout);
    assert!(lines.next().unwrap().starts_with(r#"{"message":"Hello Ann from pod-a""#), "{}", exit.stdout);
    assert!(
        exit.stdout.contains(" from pod-a in ") && exit.stdout.contains(" via 127.0.0.1:"),
        "{}",
        exit.stdout
    );

    let nobody = format!("grpc://{}", nobody().await);
    let arguments = ["call", &nobody, "--every", "1ms", "-n", "3"];
    let exit = exit_of(TOOL, &[&arguments[..], &METHOD].concat(), &[]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    let lines = exit.stdout.lines().filter(|line| line.contains("refused the connection"));
    assert!(lines.count() >= 3, "{}", exit.stdout);
}

#[tokio::test]
async fn mismatched_request_is_bad_usage() {
    let grpc = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let http = Draws::new(&[("pod-a", 100)], 0).url().await;
    let folder = protos();
    let file = folder.path().join("helloworld.proto").to_str().unwrap().to_owned();
    let reply = folder.path().join("types/reply.proto").to_str().unwrap().to_owned();
    let alone = tempfile::TempDir::new().unwrap();
    let alone = alone.path().to_str().unwrap();
    for (target, arguments, words) in [
        (&grpc, &["--method", "helloworld.Greter/SayHello"][..], "did you mean helloworld.Greeter?"),
        (
            &grpc,
            &["--method", "helloworld.Greeter/SayHelo"],
            "did you mean SayHello? The methods are SayHello, SayHello",
        ),
        (&grpc, &["--method", "helloworld.Greeter/Chat"], "takes a stream of requests"),
        (&grpc, &["--method", "SayHello"], "write pkg.Service/Method"),
        (&grpc, &["--method", METHOD[1], "--data", r#"{"nam": 1}"#], "has the fields name"),
        (&grpc, &["--method", METHOD[1], "--data", r#"{"name": 1}"#], "at name"),
        (&grpc, &["--method", METHOD[1], "--data", "Ann"], "--data is no helloworld.HelloRequest"),
        (&grpc, &["--method", METHOD[1], "--data", "@/nowhere.json"], "/nowhere.json"),
        (
            &grpc,
            &["--method", METHOD[1], "--pod-from", "/hostname"],
            "types.HelloReply has no field hostname",
        ),
        (&grpc, &["--method", METHOD[1], "--proto", "/nowhere.proto"], "/nowhere.proto"),
        (&grpc, &["--method", METHOD[1], "--proto", &file, "-I", alone], "--proto-path"),
        (&grpc, &["--method", METHOD[1], "--proto", &reply], "there is no service helloworld.Greeter"),
        (&grpc, &["--proto", &file], "--method"),
        (&grpc, &["--method", METHOD[1], "-I", "."], "--proto"),
        (&grpc, &["--data", r#"{"hostname": "x"}"#], "hello.Greeting"),
        (&http, &METHOD, "has no gRPC methods"),
        (&grpc, &["-X", "POST"], "use --method"),
    ] {
        let exit = load(target, &[&["-n", "2"], arguments].concat()).await;
        assert_eq!(exit.code, Some(2), "{target} {arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{target} {arguments:?}: {}", exit.stderr);
    }
}
