//! A scripted HTTP backend that sends any bytes as a response, and reports its connections and requests.

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

/// The reaction to a request.
pub(crate) enum Action {
    /// Writes these bytes and keeps the connection.
    Respond(String),
    /// Writes these bytes once the sender fires.
    RespondLater(String, oneshot::Receiver<()>),
    /// Writes these bytes and closes the connection.
    RespondAndClose(Vec<u8>),
    /// Writes the first bytes, then the second bytes again and again.
    RepeatForever(&'static str, &'static str),
    /// Writes nothing.
    Stall,
}

/// An event that the backend reports.
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

/// Starts a backend. `action` gets the number of earlier requests and the head of this one.
pub(crate) async fn http_backend(
    action: impl Fn(usize, &str) -> Action + Send + Sync + 'static,
) -> HttpBackend {
    http_backend_at((Ipv4Addr::LOCALHOST, 0).into(), action).await
}

/// Starts a backend on `addr`.
pub(crate) async fn http_backend_at(
    addr: SocketAddr,
    action: impl Fn(usize, &str) -> Action + Send + Sync + 'static,
) -> HttpBackend {
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let (action, count) = (Arc::new(action), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (action, count, sender) = (action.clone(), count.clone(), sender.clone());
            tokio::spawn(async move {
                let _ = sender.send(Event::Connected);
                let action = |head: &str| {
                    let _ = sender.send(Event::Request(head.to_owned()));
                    action(count.fetch_add(1, SeqCst), head)
                };
                if connection(stream, action).await.is_none() {
                    let _ = sender.send(Event::Closed);
                }
            });
        }
    });
    HttpBackend { addr, events }
}

/// Serves a connection. Returns `None` if the gateway closed it, `Some` if the backend did.
async fn connection(mut stream: TcpStream, action: impl Fn(&str) -> Action) -> Option<()> {
    loop {
        let head = read_head(&mut stream).await?;
        match action(&head) {
            Action::Respond(bytes) => stream.write_all(bytes.as_bytes()).await.ok()?,
            Action::RespondLater(bytes, when) => {
                when.await.ok()?;
                stream.write_all(bytes.as_bytes()).await.ok()?;
            }
            Action::RespondAndClose(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return Some(());
            }
            Action::RepeatForever(first, again) => {
                stream.write_all(first.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(again.as_bytes()).await.ok()?;
                }
            }
            Action::Stall => std::future::pending().await,
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

/// Returns a complete response with status 200 and this body.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

// === impl HttpBackend ===

impl HttpBackend {
    /// Returns the URL for the gateway's configuration.
    pub(crate) fn url(&self) -> Url {
        format!("http://{}/hellohttp", self.addr).parse().unwrap()
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> Event {
        bounded(self.events.recv()).await.expect("the backend runs as long as the test")
    }

    /// Waits for the next request and returns its head; earlier events are dropped.
    pub(crate) async fn next_request(&mut self) -> String {
        loop {
            if let Event::Request(head) = self.next().await {
                return head;
            }
        }
    }

    /// Returns all events since the last call of this method.
    pub(crate) fn seen(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}
