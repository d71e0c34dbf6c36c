//! An HTTP backend that answers whatever bytes a test wants, and tells what it saw.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use service::testing::bounded;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use url::Url;

/// What the backend does with a request.
pub(crate) enum Deed {
    /// Writes these bytes, and keeps the connection.
    Answer(String),
    /// Writes these bytes once the sender says so.
    AnswerLater(String, oneshot::Receiver<()>),
    /// Writes these bytes and closes.
    AnswerAndClose(Vec<u8>),
    /// Writes the first bytes, then the second again and again.
    NeverEnd(&'static str, &'static str),
    /// Keeps silent.
    Hang,
}

/// What the backend saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    Request(String),
    /// The gateway closed a connection.
    Closed,
}

pub(crate) struct HttpBackend {
    pub(crate) addr: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
}

/// Starts a backend. `deed` gets the count of requests before this one, and the request's head.
pub(crate) async fn http_backend(deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static) -> HttpBackend {
    http_backend_at((Ipv4Addr::LOCALHOST, 0).into(), deed).await
}

/// The same, on an address of the caller's choice.
pub(crate) async fn http_backend_at(
    addr: SocketAddr,
    deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static,
) -> HttpBackend {
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let (deed, count) = (Arc::new(deed), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (deed, count, sender) = (deed.clone(), count.clone(), sender.clone());
            tokio::spawn(async move {
                let _ = sender.send(Event::Connected);
                let deed = |head: &str| {
                    let _ = sender.send(Event::Request(head.to_owned()));
                    deed(count.fetch_add(1, SeqCst), head)
                };
                if connection(stream, deed).await.is_none() {
                    let _ = sender.send(Event::Closed);
                }
            });
        }
    });
    HttpBackend { addr, events }
}

/// Serves a connection: `None` when the gateway ended it, `Some` when the backend did.
async fn connection(mut stream: TcpStream, deed: impl Fn(&str) -> Deed) -> Option<()> {
    loop {
        let head = read_head(&mut stream).await?;
        match deed(&head) {
            Deed::Answer(bytes) => stream.write_all(bytes.as_bytes()).await.ok()?,
            Deed::AnswerLater(bytes, when) => {
                when.await.ok()?;
                stream.write_all(bytes.as_bytes()).await.ok()?;
            }
            Deed::AnswerAndClose(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return Some(());
            }
            Deed::NeverEnd(first, again) => {
                stream.write_all(first.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(again.as_bytes()).await.ok()?;
                }
            }
            Deed::Hang => std::future::pending().await,
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.ok()?;
        head.push(byte);
    }
    String::from_utf8(head).ok()
}

/// A whole answer of status 200 with this body.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

// === impl HttpBackend ===

impl HttpBackend {
    /// The URL for the gateway's configuration.
    pub(crate) fn url(&self) -> Url {
        format!("http://{}/hellohttp", self.addr).parse().unwrap()
    }

    /// What the backend sees next.
    pub(crate) async fn next(&mut self) -> Event {
        bounded(self.events.recv()).await.expect("the backend runs as long as the test")
    }

    /// The head of the next request; what else the backend saw before it is forgotten.
    pub(crate) async fn next_request(&mut self) -> String {
        loop {
            if let Event::Request(head) = self.next().await {
                return head;
            }
        }
    }

    /// Everything it has seen and not yet told.
    pub(crate) fn seen(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}
