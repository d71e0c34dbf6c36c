//! A server that responds to each request by the script of a test.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses the part it needs")]

mod client;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
pub use client::{request, send, unary, upload};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tonic::Code;

/// The maximum time that a test waits.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// One message frame: not compressed, length 3.
pub const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

/// The response to a request.
#[derive(Clone, Copy, Debug)]
pub enum ScriptedResponse {
    /// A message, and the status in the trailers.
    Message(Code),
    /// Only a status.
    Status(Code),
    /// OK, with this number of header fields of this size in bytes.
    LargeHeaders(usize, usize),
    /// A message and OK, with this number of trailer fields of this size in bytes.
    LargeTrailers(usize, usize),
    /// A frame in this encoding, and OK.
    Encoded(&'static str, &'static [u8]),
    /// A frame in this encoding, after which the stream stays open.
    EncodedStream(&'static str, &'static [u8]),
    /// UNAVAILABLE with this pushback.
    Pushback(&'static str),
    /// A response with this HTTP status that is not gRPC.
    Http(u16),
    /// A reset instead of a response.
    Reset(Reason),
    /// The headers of a response, half a message, and a reset.
    Half,
    /// The headers of a response, after which the stream stays open.
    Begin,
    /// Every piece of the request as it arrives, and OK when the request ends.
    Echo,
    /// This number of messages, with this number of milliseconds before each, and OK.
    Messages(usize, u64),
    /// No response.
    Silence,
}

/// A response, and the part of the request that is read before it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub read: usize,
    pub answer: ScriptedResponse,
}

/// A received request.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub at: Instant,
    /// The reason of the caller's RST_STREAM.
    pub reset: Option<Reason>,
}

/// The server. Dropping it closes its connections.
pub struct ScriptedServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
    _serving: JoinSet<()>,
}

type Script = dyn Fn(usize) -> Step + Send + Sync;

impl From<ScriptedResponse> for Step {
    /// Creates a step that reads the whole request first.
    fn from(answer: ScriptedResponse) -> Self {
        Self { read: usize::MAX, answer }
    }
}

// === impl Scripted ===

impl ScriptedServer {
    /// Starts a server whose response to the first request is `script(0)`, and so on.
    pub async fn start<S: Into<Step>>(script: impl Fn(usize) -> S + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(move |number| script(number).into());
        let mut serving = JoinSet::new();
        let requests = seen.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, script.clone(), requests.clone()));
            }
        });
        Self { address, seen, _serving: serving }
    }

    /// Starts a server that sends the same response to every request.
    pub async fn always(answer: ScriptedResponse) -> Self {
        Self::start(move |_| answer).await
    }

    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<ReceivedRequest>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut answering = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answering.spawn(answer(request, respond, script.clone(), seen.clone()));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
) {
    let (head, mut body) = request.into_parts();
    let (number, step) = {
        let mut seen = seen.lock().unwrap();
        seen.push(ReceivedRequest {
            headers: head.headers,
            body: Vec::new(),
            at: Instant::now(),
            reset: None,
        });
        (seen.len() - 1, script(seen.len() - 1))
    };
    let mut read = 0;
    while read < step.read {
        let Some(Ok(data)) = body.data().await else { break };
        read += data.len();
        drop(body.flow_control().release_capacity(data.len()));
        seen.lock().unwrap()[number].body.extend_from_slice(&data);
    }
    let head = |code: Option<Code>| {
        let mut head = Response::new(());
        head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        head.headers_mut().extend(code.map(status));
        head
    };
    match step.answer {
        ScriptedResponse::Message(code) => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
            drop(stream.send_trailers([status(code)].into_iter().collect()));
        }
        ScriptedResponse::Status(code) => drop(respond.send_response(head(Some(code)), true)),
        ScriptedResponse::LargeHeaders(count, size) => {
            let mut head = head(Some(Code::Ok));
            head.headers_mut().extend(fields(count, size));
            drop(respond.send_response(head, true));
        }
        ScriptedResponse::LargeTrailers(count, size) => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
            let trailers = [status(Code::Ok)].into_iter().chain(fields(count, size));
            drop(stream.send_trailers(trailers.collect()));
        }
        ScriptedResponse::Encoded(encoding, frame) | ScriptedResponse::EncodedStream(encoding, frame) => {
            let mut head = head(None);
            head.headers_mut().insert("grpc-encoding", HeaderValue::from_static(encoding));
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(frame), false).unwrap();
            if matches!(step.answer, ScriptedResponse::EncodedStream(..)) {
                drop(std::future::poll_fn(|cx| stream.poll_reset(cx)).await);
            }
            drop(stream.send_trailers([status(Code::Ok)].into_iter().collect()));
        }
        ScriptedResponse::Pushback(value) => {
            let mut head = head(Some(Code::Unavailable));
            head.headers_mut().insert("grpc-retry-pushback-ms", HeaderValue::from_static(value));
            drop(respond.send_response(head, true));
        }
        ScriptedResponse::Http(status) => {
            drop(respond.send_response(Response::builder().status(status).body(()).unwrap(), true));
        }
        ScriptedResponse::Reset(reason) => respond.send_reset(reason),
        ScriptedResponse::Half => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            stream.send_data(Bytes::from_static(&MESSAGE[..4]), false).unwrap();
            // Sends the reset after the previous frames have been delivered.
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        ScriptedResponse::Begin => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            seen.lock().unwrap()[number].reset = reset.ok();
        }
        ScriptedResponse::Echo => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                drop(body.flow_control().release_capacity(data.len()));
                // The end of the body is an empty piece.
                if !data.is_empty() {
                    drop(stream.send_data(data, false));
                }
            }
            drop(stream.send_trailers([status(Code::Ok)].into_iter().collect()));
        }
        ScriptedResponse::Messages(messages, pause) => {
            let mut stream = respond.send_response(head(None), false).unwrap();
            for _ in 0..messages {
                if pause > 0 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                drop(stream.send_data(Bytes::from_static(MESSAGE), false));
            }
            drop(stream.send_trailers([status(Code::Ok)].into_iter().collect()));
        }
        ScriptedResponse::Silence => {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            seen.lock().unwrap()[number].reset = reset.ok();
        }
    }
}

fn fields(count: usize, size: usize) -> impl Iterator<Item = (http::HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(&"x".repeat(size)).unwrap();
    (0..count).map(move |number| (format!("x-{number}").parse().unwrap(), value.clone()))
}

fn status(code: Code) -> (http::HeaderName, HeaderValue) {
    (http::HeaderName::from_static("grpc-status"), HeaderValue::from(code as i32))
}
