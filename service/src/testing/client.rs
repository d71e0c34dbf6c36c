//! A minimal HTTP/1.1 client that sends bytes as they are, so that tests can send malformed requests.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::bounded;

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header lines.
    pub head: Vec<String>,
    /// The body.
    pub body: String,
}

/// A connection. Every method panics if the server takes longer than a minute or breaks the connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

// === impl Response ===

impl Response {
    /// Returns the value of a header; `name` is in lower case, as the servers of this workspace write it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the members of a problem, after checking its content type, status and request ID.
    #[must_use]
    pub fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }
}

// === impl Client ===

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Self {
        Self { stream }
    }
}

impl Client {
    /// Opens a connection.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: bounded(TcpStream::connect(addr)).await.unwrap() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &str) {
        bounded(self.stream.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// Sends a GET request without waiting for the response.
    pub async fn send_get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    /// Sends a GET request and reads the response.
    pub async fn get(&mut self, path: &str) -> Response {
        self.send_get(path).await;
        self.read_response().await
    }

    /// Reads one response, whose body must have a `content-length`.
    pub async fn read_response(&mut self) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(bounded(self.stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head: lines.collect(), body: String::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        bounded(self.stream.read_exact(&mut body)).await.unwrap();
        response.body = String::from_utf8(body).unwrap();
        response
    }

    /// Waits until the server closes the connection with a FIN and without another byte.
    pub async fn ended(&mut self) {
        let mut rest = Vec::new();
        bounded(self.stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Waits until the server closes the connection with a FIN or a reset, and ignores what it sends before.
    pub async fn closed(&mut self) {
        drop(bounded(self.stream.read_to_end(&mut Vec::new())).await);
    }
}
