//! HTTP servers that are absent, silent or send nonsense: each is reported in one sentence, and no call hangs.

use super::{
    greeter::{Reflection, greeter},
    hostile::{flooding, resetting, stopping},
    load,
    servers::{nobody, saying, silent},
};

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
/// A server that is reached in time and then silent; on a busy machine the time may be over before.
const LATE: &str = "no answer within 300ms|no connection within 300ms";
const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn misbehaving_server_is_one_sentence() {
    let redirect = saying(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let problem = saying(
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"title\":\"Busy\",\"detail\":\"come back\",\"status\":503}",
    )
    .await;
    let no_chunk =
        saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\nhello\r\n").await;
    let two_lengths = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab").await;
    let no_status = saying(b"HTTP/1.1 2000 OK\r\n\r\n").await;
    let no_header = saying(b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n").await;
    for (server, words) in [
        (nobody().await, "nothing listens there"),
        (silent().await, LATE),
        (saying(b"").await, "closed the connection before the response was complete"),
        (saying(HALF).await, "closed the connection"),
        (stopping(HALF).await, LATE),
        (stopping(b"HTTP/1.1 200 OK\r\n").await, LATE),
        (resetting(b"").await, "reset the connection"),
        (resetting(HALF).await, "reset the connection"),
        (saying(b"\x00\x01\x02\r\n\r\n").await, "does not answer in HTTP/1.1"),
        (greeter("pod-a", Reflection::None).await, "HTTP/1.1|closed the connection"),
        (redirect, "HTTP 302 is a redirect; follow it with --location"),
        (problem, "HTTP 503 Busy: come back"),
        (no_chunk, "chunk"),
        (two_lengths, "does not answer in HTTP/1.1"),
        (no_status, "does not answer in HTTP/1.1"),
        (no_header, "does not answer in HTTP/1.1"),
        (flooding(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n").await, "a response head that is too large"),
        (flooding(b"HTTP/1.1 200 OK\r\na: ", b"b").await, "a response head that is too large"),
        (flooding(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n").await, LATE),
        (flooding(ENDLESS, b"5\r\nhello\r\n").await, LATE),
        (flooding(ENDLESS, b"f").await, "chunk"),
    ] {
        let target = format!("http://{server}/");
        let patience = if words.contains("300ms") { "300ms" } else { "10s" };
        let exit = load(&target, &["-n", "6", "-c", "2", "--timeout", patience]).await;
        assert_eq!(exit.code, Some(3), "{words}: {exit:?}");
        assert_eq!(exit.stderr.lines().count(), 1, "{words}: {}", exit.stderr);
        assert!(words.split('|').any(|words| exit.stderr.contains(words)), "{words}: {}", exit.stderr);
    }
    let exit = load("http://nowhere.invalid/", &["-n", "6"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stderr.contains("nowhere.invalid cannot be resolved"), "{}", exit.stderr);
}

/// A call is retried only if its kept-alive connection was closed before the response began. A connection that breaks
/// in the middle of a response is a failed call.
#[tokio::test]
async fn truncated_response_is_not_retried() {
    let half = saying(HALF).await;
    let exit = load(&format!("http://{half}/"), &["-n", "7", "-c", "1", "--max-errors", "100%"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("7 of 7 calls failed"), "{}", exit.stdout);
}

#[tokio::test]
async fn response_that_is_not_json_names_no_pod() {
    let text = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let exit = load(&format!("http://{text}/"), &["-n", "6"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("the answers do not name their pod"), "{}", exit.stdout);
}

#[tokio::test]
async fn header_that_no_answer_has_is_named_beside_those_that_answers_have() {
    let text = saying(b"HTTP/1.1 200 OK\r\nx-upstream: a\r\ncontent-length: 5\r\n\r\nhello").await;
    let url = format!("http://{text}/");
    let exit = load(&url, &["-n", "6", "--pod-from", "header:x-nope"]).await;
    let sentence = "no answer has the header x-nope; answers have x-upstream, content-length";
    // It may be wrapped.
    let words = exit.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(words.contains(sentence), "{}", exit.stdout);
}

/// A response of 32 MiB is discarded while it is read; the program may use far less memory than that.
#[tokio::test]
async fn huge_response_is_read_in_little_memory() {
    let huge = flooding(b"HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n", b"{\"hostname\":").await;
    let tool = super::TOOL;
    let command = format!("ulimit -v 4000000; exec {tool} load http://{huge}/ -n 2 -c 1 --timeout 60s");
    let exit = service::testing::exit_of("sh", &["-c", &command], &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("the answers do not name their pod"), "{}", exit.stdout);
}

#[tokio::test]
async fn expected_failures_are_exit_code_0() {
    let silent = silent().await;
    let arguments = ["-n", "2", "--timeout", "100ms", "--max-errors", "100%"];
    assert_eq!(load(&format!("http://{silent}/"), &arguments).await.code, Some(0));
}
