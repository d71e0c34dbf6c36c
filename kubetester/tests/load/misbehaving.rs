//! Servers that are not there, say nothing, or say nonsense: a sentence each, and no hang.

use super::{
    load,
    servers::{nobody, saying, silent},
};

#[tokio::test]
async fn whatever_the_server_does_there_is_one_sentence() {
    let half = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let garbage = saying(b"\x00\x01\x02\r\n\r\n").await;
    let redirect = saying(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let problem = saying(
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"title\":\"Busy\",\"detail\":\"come back\",\"status\":503}",
    )
    .await;
    let closing = saying(b"").await;
    let (silent, nobody) = (silent().await, nobody().await);
    for (target, words) in [
        (format!("http://{nobody}/"), "nothing listens there"),
        (format!("grpc://{nobody}"), "nothing listens there"),
        (format!("ipv4:{nobody}"), "onnection refused"),
        (format!("http://{silent}/"), "no answer within 300ms"),
        (format!("grpc://{silent}"), "no answer within 300ms"),
        (format!("ipv4:{silent}"), "no connection within 300ms"),
        (format!("http://{half}/"), "closed the connection"),
        (format!("http://{closing}/"), "closed the connection"),
        (format!("http://{garbage}/"), "does not answer in HTTP/1.1"),
        (format!("grpc://{garbage}"), "gRPC "),
        (format!("http://{redirect}/"), "not followed"),
        (format!("http://{problem}/"), "HTTP 503 Busy: come back"),
        ("http://nowhere.invalid/".to_owned(), "cannot be resolved"),
    ] {
        let exit = load(&target, &["-n", "6", "-c", "2", "--timeout", "300ms"]).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert_eq!(exit.stderr.lines().count(), 1, "{target}: {}", exit.stderr);
        assert!(exit.stderr.contains(words), "{target}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_an_answer_without_a_pod() {
    let text = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let exit = load(&format!("http://{text}/"), &["-n", "6"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains("the answers do not name their pod"), "{}", exit.stdout);
}

#[tokio::test]
async fn all_calls_may_fail_when_that_is_expected() {
    let silent = silent().await;
    let arguments = ["-n", "2", "--timeout", "100ms", "--max-errors", "100%"];
    assert_eq!(load(&format!("http://{silent}/"), &arguments).await.code, Some(0));
}
