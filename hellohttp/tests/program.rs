//! hellohttp as a process: start, health checks, logs and shutdown, which are the same for all programs.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{net::TcpListener, time::Duration};

use service::testing::{Client, Exit, Running, Signal, bounded, exit_of};

const EXE: &str = env!("CARGO_BIN_EXE_hellohttp");

/// Waits until one request is in flight.
async fn in_flight(running: &Running) {
    let mut admin = Client::connect(running.admin).await;
    bounded(async {
        while !admin.get("/metrics").await.body.contains("http_requests_in_flight{path=\"/hellohttp\"} 1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn identity_is_read_from_the_environment() {
    let running = Running::start(EXE, &[("POD_NAME", "pod-7"), ("APP_VERSION", "v2")]).await;
    let answer = Client::connect(running.listen).await.get("/hellohttp?name=Ann").await;
    assert_eq!(answer.body, r#"{"name":"Ann","version":"v2","hostname":"pod-7"}"#);
    let metrics = Client::connect(running.admin).await.get("/metrics").await.body;
    assert!(metrics.contains(r#"build_info{hostname="pod-7","#), "{metrics}");
    assert!(metrics.contains(r#"http_requests_total{path="/hellohttp",status="200"} 1"#), "{metrics}");
}

#[tokio::test]
async fn access_log_has_the_request_id() {
    let running = Running::start(EXE, &[("LOG_FILTER", "info,access=debug")]).await;
    let mut client = Client::connect(running.listen).await;
    client
        .send("GET /nowhere?x=1 HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(client.read_response().await.status, 404);
    running.signal(Signal::TERM);
    let logs = running.exit().await.stderr;
    let line = logs.lines().find(|line| line.contains(r#""message":"response""#)).unwrap();
    for text in [
        r#""method":"GET""#,
        r#""uri":"/nowhere?x=1""#,
        r#""request_id":"mine""#,
        r#""status":404"#,
        "there is nothing at /nowhere",
    ] {
        assert!(line.contains(text), "{text} is not in {line}");
    }
}

#[tokio::test]
async fn idle_server_ends_at_once() {
    for (signal, threads) in [(Signal::TERM, "1"), (Signal::INT, "2")] {
        let running = Running::start(EXE, &[("WORKER_THREADS", threads)]).await;
        assert_eq!(Client::connect(running.listen).await.get("/hellohttp").await.status, 200);
        running.signal(signal);
        assert_eq!(running.exit().await.code, Some(0));
    }
}

#[tokio::test]
async fn sigterm_waits_for_requests_in_flight() {
    let running = Running::start(EXE, &[("RESPONSE_DELAY", "300ms")]).await;
    let mut client = Client::connect(running.listen).await;
    client.send_get("/hellohttp?name=Ann").await;
    in_flight(&running).await;
    running.signal(Signal::TERM);
    let answer = client.read_response().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    client.ended().await;
    assert_eq!(running.exit().await.code, Some(0));
}

#[tokio::test]
async fn draining_server_is_unready_and_accepts_requests() {
    let mut running = Running::start(EXE, &[("DRAIN_DELAY", "1h"), ("SHUTDOWN_TIMEOUT", "2h")]).await;
    let mut admin = Client::connect(running.admin).await;
    assert_eq!(admin.get("/readyz").await.status, 200);
    running.signal(Signal::TERM);
    running.logs("shutting down").await;
    assert_eq!(admin.get("/readyz").await.problem()["detail"], "the program is stopping");
    assert_eq!(Client::connect(running.listen).await.get("/hellohttp").await.status, 200);
    assert_eq!(admin.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn requests_beyond_the_shutdown_timeout_are_aborted() {
    let env = [("RESPONSE_DELAY", "1h"), ("SHUTDOWN_TIMEOUT", "200ms")];
    let running = Running::start(EXE, &env).await;
    let mut client = Client::connect(running.listen).await;
    client.send_get("/hellohttp").await;
    in_flight(&running).await;
    running.signal(Signal::TERM);
    let exit = running.exit().await;
    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.contains("aborted"), "{}", exit.stderr);
}

#[tokio::test]
async fn second_signal_ends_at_once() {
    let env = [("RESPONSE_DELAY", "1h"), ("SHUTDOWN_TIMEOUT", "2h")];
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut running = Running::start(EXE, &env).await;
        let mut client = Client::connect(running.listen).await;
        client.send_get("/hellohttp").await;
        in_flight(&running).await;
        running.signal(Signal::TERM);
        running.logs("shutting down").await;
        running.signal(second);
        assert_eq!(running.exit().await.code, Some(code));
    }
}

#[tokio::test]
async fn port_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (env, flag) in [
        ([("LISTEN_ADDR", addr.as_str()), ("ADMIN_ADDR", "")], "--listen-addr"),
        ([("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", addr.as_str())], "--admin-addr"),
    ] {
        let exit = exit_of(EXE, &["--log-filter", "off"], &env).await;
        let line = format!(
            "hellohttp: cannot listen on {addr}: Address already in use (os error 98); \
             stop the program that holds the port, or choose another with {flag}\n"
        );
        let expected = Exit { code: Some(1), stderr: line, stdout: String::new() };
        assert_eq!(exit, expected);
    }
}

#[tokio::test]
async fn bad_flag_is_named_in_one_line() {
    for (arguments, env, words) in [
        (&["--drain-delay", "soon"][..], &[][..], ["'soon'", "--drain-delay <DRAIN_DELAY>"]),
        (&[], &[("MAX_CONNECTION_AGE", "5")], ["'5'", "MAX_CONNECTION_AGE"]),
        (&[], &[("LISTEN_ADDR", "8100")], ["'8100'", "LISTEN_ADDR"]),
        (&[], &[("ADMIN_ADDR", "nowhere:80")], ["'nowhere:80'", "ADMIN_ADDR"]),
        (&[], &[("LOG_FORMAT", "xml")], ["'xml'", "LOG_FORMAT"]),
        (&[], &[("LOG_FILTER", "info,x=loud")], ["'info,x=loud'", "LOG_FILTER"]),
        (&[], &[("WORKER_THREADS", "0")], ["'0'", "WORKER_THREADS"]),
        (&[], &[("SHUTDOWN_TIMEOUT", "9999999999years")], ["SHUTDOWN_TIMEOUT", "year"]),
        (&["--drain-delay=20s"], &[], ["DRAIN_DELAY", "SHUTDOWN_TIMEOUT"]),
        (&["--listen"], &[], ["'--listen'", "unexpected"]),
        (&["extra"], &[], ["'extra'", "unexpected"]),
    ] {
        let exit = exit_of(EXE, arguments, env).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(2), ""), "{arguments:?} {env:?}");
        assert_eq!(exit.stderr.lines().count(), 1, "{}", exit.stderr);
        assert!(exit.stderr.starts_with("hellohttp: "), "{}", exit.stderr);
        for word in words {
            assert!(exit.stderr.contains(word), "{word} is not in {}", exit.stderr);
        }
    }
}

#[tokio::test]
async fn help_shows_every_flag_with_its_name_in_the_environment() {
    let exit = exit_of(EXE, &["--help"], &[]).await;
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
    assert!(exit.stdout.starts_with("The HTTP backend: "), "{}", exit.stdout);
    // The text is wrapped; where, depends on its words.
    let help = exit.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in ["[env: MAX_CONNECTION_AGE=]", "[default: 5s]", "[env: ADMIN_ADDR=]", "v1-hellohttp", "8100"]
    {
        assert!(help.contains(text), "{text} is not in {help}");
    }
}

#[tokio::test]
async fn health_command_asks_the_running_server() {
    let running = Running::start(EXE, &[]).await;
    let admin = running.admin.to_string();
    let exit = exit_of(EXE, &["--health"], &[("ADMIN_ADDR", &admin)]).await;
    assert_eq!(exit, Exit { code: Some(0), stderr: String::new(), stdout: String::new() });

    let every_address = format!("0.0.0.0:{}", running.admin.port());
    assert_eq!(exit_of(EXE, &["--health"], &[("ADMIN_ADDR", &every_address)]).await.code, Some(0));

    // Another program answers on the port.
    let other = running.listen.to_string();
    let exit = exit_of(EXE, &["--health"], &[("ADMIN_ADDR", &other)]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("HTTP/1.1 404 Not Found"), "{}", exit.stderr);

    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code, Some(0));
    let exit = exit_of(EXE, &["--health"], &[("ADMIN_ADDR", &admin)]).await;
    assert_eq!(exit.code, Some(1));
    assert_eq!(exit.stderr.lines().count(), 1, "{}", exit.stderr);
    assert_eq!(exit_of(EXE, &["--health"], &[("ADMIN_ADDR", "")]).await.code, Some(1));
}

#[tokio::test]
async fn environment_that_is_not_utf8_is_named() {
    let script = format!("POD_NAME=$(printf '\\377') exec {EXE}");
    let exit = exit_of("/bin/sh", &["-c", &script], &[]).await;
    let line = "hellohttp: the environment variable POD_NAME is not valid UTF-8\n".to_owned();
    assert_eq!(exit, Exit { code: Some(2), stderr: line, stdout: String::new() });
}

#[tokio::test]
async fn help_that_cannot_be_written_is_an_error() {
    let exit = exit_of("/bin/sh", &["-c", &format!("exec {EXE} --help >/dev/full")], &[]).await;
    let line =
        "hellohttp: cannot write to standard output: No space left on device (os error 28)\n".to_owned();
    assert_eq!(exit, Exit { code: Some(1), stderr: line, stdout: String::new() });
}

#[tokio::test]
async fn soft_limit_on_open_files_is_raised() {
    let script = format!("ulimit -S -n 64; exec {EXE}");
    let running = Running::start_with("/bin/sh", &["-c", &script], &[]).await;
    let metrics = Client::connect(running.admin).await.get("/metrics").await.body;
    let max = metrics.lines().find_map(|line| line.strip_prefix("process_max_fds ")).unwrap();
    assert!(max.parse::<u64>().unwrap() > 64, "{max}");
}

#[tokio::test]
async fn health_is_answered_when_idle_clients_use_up_the_open_files() {
    let script = format!("ulimit -n 128; exec {EXE}");
    let running = Running::start_with("/bin/sh", &["-c", &script], &[]).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Client::connect(running.listen).await);
    }
    for path in ["/healthz", "/readyz", "/healthz"] {
        assert_eq!(Client::connect(running.admin).await.get(path).await.status, 200);
    }
    let metrics = Client::connect(running.admin).await.get("/metrics").await.body;
    assert!(metrics.contains("server_connections_limit{listener=\"service\"} 64\n"), "{metrics}");
    assert!(metrics.contains("server_accept_failures_total{listener=\"service\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn default_admin_port_is_on_every_address() {
    let exit = exit_of(EXE, &["--help"], &[]).await;
    assert!(exit.stdout.contains("[default: [::]:8080]"), "{}", exit.stdout);
    let running = Running::start(EXE, &[("ADMIN_ADDR", "[::]:0")]).await;
    for address in ["127.0.0.1", "::1"] {
        // Loopback may not have IPv6.
        if TcpListener::bind((address, 0)).is_ok() {
            let address = (address.parse::<std::net::IpAddr>().unwrap(), running.admin.port()).into();
            assert_eq!(Client::connect(address).await.get("/healthz").await.status, 200);
        }
    }
}
