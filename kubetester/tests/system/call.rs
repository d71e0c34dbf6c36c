//! `kubetester call`: prints a line for each call, including failed calls, and a summary at the end.

use std::process::Stdio;

use service::testing::{bounded, exit_of};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use super::pods::{Pods, TOOL, program};

#[tokio::test]
async fn line_names_pod_latency_and_connection() {
    let pods = Pods::start(3).await;
    let arguments = ["call", &pods.target(), "--name", "Ann", "--every", "1ms", "-n", "6"];
    let exit = exit_of(TOOL, &arguments, &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // The pods that answer depend on the speed of connecting; each has its own address.
    for line in exit.stdout.lines().take(6) {
        let of_pod = |number: usize| {
            let begin = format!("Hello Ann from hellogrpc-{number} (v1-hellogrpc) in ");
            line.starts_with(&begin) && line.ends_with(&format!(" via {}", pods.addresses[number - 1]))
        };
        assert!((1..=3).any(of_pod), "{line}");
    }
    assert!(exit.stdout.contains("6 calls"), "{}", exit.stdout);
}

#[tokio::test]
async fn server_domain_and_port_choose_the_ticketing_server() {
    let pod = program("hellogrpc", &[("POD_NAME", "pod-1")]).await;
    let (domain, port) = (pod.listen.ip().to_string(), pod.listen.port().to_string());
    let env = [("SERVER_DOMAIN", domain.as_str()), ("SERVER_PORT", port.as_str())];
    let hello = ["call", "-n", "1", "--method", "hello.Hello/SayHello", "--name", "Ann"];
    let exit = exit_of(TOOL, &hello, &env).await;
    assert!(
        exit.stdout.starts_with(r#"{"name":"Ann","version":"v1-hellogrpc","hostname":"pod-1"} from pod-1 "#),
        "{exit:?}"
    );
    let exit = exit_of(TOOL, &["call", "-n", "2", "--every", "0"], &env).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("there is no service ticketing.CustomerController"), "{exit:?}");
    let exit = exit_of(TOOL, &["call", "-n", "1"], &[("SERVER_PORT", "1")]).await;
    assert!(
        exit.code == Some(3) && exit.stderr.contains("no call to dns:///localhost:1 succeeded"),
        "{exit:?}"
    );
    let exit = exit_of(TOOL, &["call", "-n", "1"], &[("SERVER_PORT", "tcp://10.0.0.1:80")]).await;
    assert!(exit.code == Some(2) && exit.stderr.contains("SERVER_PORT"), "{exit:?}");
}

#[tokio::test]
async fn each_greeting_method_prints_the_line_of_its_own_client() {
    let pod = program("hellogrpc", &[("POD_NAME", "pod-1")]).await;
    let target = format!("grpc://{}", pod.listen);
    for (method, arguments, lines) in [
        (
            "helloworld.Greeter/SayHello",
            &["--name", "Ann"][..],
            &[
                " Hello Ann from pod-1",
                r#"{"message":"Hello Ann"} from pod-1 in "#,
                "pods are named by the response header hostname",
            ][..],
        ),
        (
            "helloworld.Greeter/SayHello",
            &[],
            &[&format!(" Hello {} from pod-1", pod.listen), " from pod-1 in ", "pods are named"],
        ),
        (
            "echo.EchoServer/SayHello",
            &["--name", "Ann"],
            &["Hello Ann  from hostname pod-1", " from pod-1 in "],
        ),
        (
            "echo.EchoServer/SayHelloStream",
            &["--name", "Ann"],
            &["Msg1 Ann", "Msg2 Ann", "2 messages from pod-1 in "],
        ),
        (
            "message.Echo/EchoMessage",
            &[],
            &["Sending Message at ", "Received Message at ", r#""serverID":"pod-1"} from pod-1 in "#],
        ),
    ] {
        let arguments = [&["call", &target, "-n", "1", "--method", method], arguments].concat();
        let exit = exit_of(TOOL, &arguments, &[]).await;
        assert_eq!(exit.code, Some(0), "{method}: {exit:?}");
        for (index, words) in lines.iter().enumerate() {
            let line = exit.stdout.lines().nth(index).unwrap_or_default();
            assert!(line.contains(words), "{method}: {words:?} is not in {line:?}: {exit:?}");
        }
    }
    let stream = ["call", &target, "-n", "1", "-v", "--method", "echo.EchoServer/SayHelloStream"];
    let exit = exit_of(TOOL, &stream, &[]).await;
    for line in
        ["  header streamheaderkey: val", "  header hostname: pod-1", "  trailer streamtrailerkey: val"]
    {
        assert!(exit.stdout.lines().any(|printed| printed == line), "{line}: {exit:?}");
    }
}

#[tokio::test]
async fn answers_of_gateway_and_backend_name_the_pod() {
    let http = program("hellohttp", &[("POD_NAME", "pod-2")]).await;
    let target = format!("http://{}/hellohttp", http.listen);
    let gateway = program("helloserve", &[("HTTP_TARGET", target.as_str())]).await;
    for url in [target.clone(), format!("http://{}/hellohttp", gateway.listen)] {
        let exit = exit_of(TOOL, &["call", &url, "-n", "1", "--name", "Ann & Bob"], &[]).await;
        assert!(exit.stdout.starts_with("Hello Ann & Bob from pod-2 (v1-hellohttp) in "), "{exit:?}");
    }
}

#[tokio::test]
async fn errors_do_not_end_the_calls_and_ctrl_c_prints_a_summary() {
    let mut pods = Pods::start(1).await;
    let target = format!("grpc://{}", pods.addresses[0]);
    let mut child = Command::new(TOOL)
        .args(["call", &target, "--every", "20ms"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line_with = async |words: &str| {
        let mut line = String::new();
        while !line.starts_with(words) {
            line.clear();
            assert_ne!(bounded(output.read_line(&mut line)).await.unwrap(), 0, "ended without {words:?}");
        }
    };
    line_with("Hello stranger from hellogrpc-1").await;
    pods.kill(1).await;
    line_with("No answer after").await;
    pods.restart(1).await;
    line_with("Hello stranger from hellogrpc-1").await;
    let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id().unwrap())).status();
    assert!(bounded(kill).await.unwrap().success());
    let mut rest = String::new();
    bounded(output.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.contains("verdict") && rest.contains("errors"), "{rest}");
    assert_eq!(bounded(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn unreachable_server_is_exit_code_3() {
    let exit = exit_of(TOOL, &["call", "grpc://127.0.0.1:1", "-n", "1"], &[]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stdout.contains("No answer after"), "{exit:?}");
}

#[tokio::test]
async fn echo_serves_and_its_client_calls_until_a_signal() {
    let mut servers = Vec::new();
    let mut addresses = Vec::new();
    for name in ["echo-1", "echo-2"] {
        let mut server = Command::new(TOOL)
            .args(["echo", "-s", "-h", "127.0.0.1:0"])
            .env("HOSTNAME", name)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        assert_ne!(bounded(output.read_line(&mut line)).await.unwrap(), 0);
        addresses.push(line.trim().rsplit(' ').next().unwrap().to_owned());
        servers.push(server);
    }

    // Over one connection every line names the same pod. Over the balanced channel the pods answer in turn.
    let balanced = format!("ipv4:{}", addresses.join(","));
    for (host, pods) in [(&addresses[0], 1), (&balanced, 2)] {
        let exit = exit_of(TOOL, &["echo", "-h", host, "-n", "8", "--every", "5ms"], &[]).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        let lines: Vec<_> = exit.stdout.lines().collect();
        assert_eq!(lines.len(), 16, "{exit:?}");
        let mut seen = std::collections::BTreeSet::new();
        for pair in lines.chunks(2) {
            assert!(pair[0].starts_with("Sending Message at "), "{exit:?}");
            let (begin, pod) = pair[1].split_once(" from server ").unwrap();
            assert!(begin.starts_with("Received Message at "), "{exit:?}");
            seen.insert(pod.to_owned());
        }
        assert_eq!(seen.len(), pods, "{host}: {exit:?}");
    }

    let mut client = Command::new(TOOL)
        .args(["echo", "-h", &addresses[0]])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    assert_ne!(bounded(output.read_line(&mut line)).await.unwrap(), 0);
    servers.push(client);
    for (mut process, signal) in servers.into_iter().zip(["TERM", "INT", "TERM"]) {
        let kill = format!("kill -{signal} {}", process.id().unwrap());
        assert!(bounded(Command::new("sh").arg("-c").arg(kill).status()).await.unwrap().success());
        assert_eq!(bounded(process.wait()).await.unwrap().code(), Some(0), "{signal}");
    }
}
