//! `kubetester call`: a line for each call, also for those that fail, and a summary at the end.

use std::process::Stdio;

use service::testing::{bounded, exit_of};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use super::pods::{Pods, TOOL, program};

#[tokio::test]
async fn a_line_says_who_answered_whom_how_fast_and_over_which_connection() {
    let pods = Pods::start(3).await;
    let arguments = ["call", &pods.target(), "--name", "Ann", "--every", "1ms", "-n", "6"];
    let exit = exit_of(TOOL, &arguments, &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // Which pods took them depends on how fast they were connected; each has its own address.
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
async fn the_environment_of_the_classic_clients_is_understood() {
    let pod = program("hellogrpc", &[("POD_NAME", "pod-1")]).await;
    let (domain, port) = (pod.listen.ip().to_string(), pod.listen.port().to_string());
    let env = [("SERVER_DOMAIN", domain.as_str()), ("SERVER_PORT", port.as_str())];
    let exit = exit_of(TOOL, &["call", "-n", "1"], &env).await;
    assert!(exit.stdout.starts_with("Hello stranger from pod-1 "), "{exit:?}");
    for (env, word) in [
        (&[][..], "SERVER_DOMAIN"),
        (&[("SERVER_DOMAIN", "a"), ("SERVER_PORT", "tcp://10.0.0.1:80")], "SERVER_PORT"),
    ] {
        let exit = exit_of(TOOL, &["call", "-n", "1"], env).await;
        assert_eq!(exit.code, Some(2));
        assert!(exit.stderr.contains(word), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn the_gateways_answers_and_the_backends_are_read_alike() {
    let http = program("hellohttp", &[("POD_NAME", "pod-2")]).await;
    let target = format!("http://{}/hellohttp", http.listen);
    let gateway = program("helloserve", &[("HTTP_TARGET", target.as_str())]).await;
    for url in [target.clone(), format!("http://{}/hellohttp", gateway.listen)] {
        let exit = exit_of(TOOL, &["call", &url, "-n", "1", "--name", "Ann & Bob"], &[]).await;
        assert!(exit.stdout.starts_with("Hello Ann & Bob from pod-2 (v1-hellohttp) in "), "{exit:?}");
    }
}

#[tokio::test]
async fn it_goes_on_through_errors_and_sums_up_on_ctrl_c() {
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
async fn nobody_there_is_a_line_and_exit_code_3() {
    let exit = exit_of(TOOL, &["call", "grpc://127.0.0.1:1", "-n", "1"], &[]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stdout.contains("No answer after"), "{exit:?}");
}
