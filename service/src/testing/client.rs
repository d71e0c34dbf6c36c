//! An HTTP/1.1 client of a few lines, so that tests see the bytes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::bounded;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The lines of the head, after the first.
    pub head: Vec<String>,
    /// The body.
    pub body: String,
}

/// One connection. Every method panics when the server takes a minute, or breaks off.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

// === impl Answer ===

impl Answer {
    /// A header's value; `name` is in lower case, as our servers write it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The members of an answer that is a problem, and says so.
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
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: bounded(TcpStream::connect(addr)).await.unwrap() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &str) {
        bounded(self.stream.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// Sends a GET without waiting for its answer.
    pub async fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    /// Sends a GET, and reads its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(path).await;
        self.answer().await
    }

    /// Reads one answer, whose body has a `content-length`.
    pub async fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(bounded(self.stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head: lines.collect(), body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        bounded(self.stream.read_exact(&mut body)).await.unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Waits until the server ends the connection, in order and without another byte.
    pub async fn ended(&mut self) {
        let mut rest = Vec::new();
        bounded(self.stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Waits until the server ends the connection in any way, whatever it says before.
    pub async fn dropped(&mut self) {
        // A reset is an end as well.
        drop(bounded(self.stream.read_to_end(&mut Vec::new())).await);
    }
}
