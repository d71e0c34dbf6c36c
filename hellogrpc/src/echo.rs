//! `echo.EchoServer`: greets once or as a stream, with headers and trailers of its own.

mod trailer;

use std::time::Duration;

use proto::echo::{EchoReply, EchoRequest, echo_server_server::EchoServer};
use service::Shutdown;
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::responder::{Responder, timeout};
pub(crate) use trailer::{Trailer, add_trailer};

/// The value of both headers and both trailers.
const VALUE: &str = "val";

/// Messages of one stream.
const MESSAGES: usize = 2;

#[derive(Debug)]
pub(crate) struct EchoServerService {
    pub(crate) responder: Responder,
    pub(crate) shutdown: Shutdown,
    pub(crate) stream_grace: Duration,
}

type Replies = mpsc::Sender<Result<EchoReply, Status>>;

// === impl EchoServerService ===

impl EchoServerService {
    /// Returns the task that sends the messages of one stream. It stops when the client cancels the stream, and ends
    /// the stream with an error at the client's deadline, or `stream_grace` after shutdown began.
    fn stream(
        &self,
        name: String,
        metadata: &MetadataMap,
        replies: Replies,
    ) -> impl Future<Output = ()> + use<> {
        let Self { responder, shutdown, stream_grace } = self;
        let (delay, shutdown, grace) = (responder.delay, shutdown.clone(), *stream_grace);
        let timeout = timeout(metadata).unwrap_or(Duration::MAX);
        let closed = async move {
            shutdown.closing().await;
            time::sleep(grace).await;
        };
        async move {
            let messages = async {
                for number in 1..=MESSAGES {
                    time::sleep(delay).await;
                    let message = format!("Msg{number} {name}");
                    // An error means that the client is gone, which the select below sees as well.
                    drop(replies.send(Ok(EchoReply { message })).await);
                }
            };
            let status = tokio::select! {
                () = messages => return,
                () = replies.closed() => return,
                () = closed => Status::unavailable("the server is stopping: open the stream again"),
                () = time::sleep(timeout) => Status::deadline_exceeded("the deadline passed before the last message"),
            };
            drop(replies.send(Err(status)).await);
        }
    }
}

#[tonic::async_trait]
impl EchoServer for EchoServerService {
    async fn say_hello(&self, request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        self.responder.wait(request.metadata()).await?;
        let EchoRequest { name } = request.into_inner();
        let hostname = &self.responder.identity.hostname;
        let reply = EchoReply { message: format!("Hello {name}  from hostname {hostname}") };
        Ok(with_metadata(reply, "rpcheaderkey", "rpctrailerkey"))
    }

    type SayHelloStreamStream = ReceiverStream<Result<EchoReply, Status>>;

    async fn say_hello_stream(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Self::SayHelloStreamStream>, Status> {
        let (metadata, _, EchoRequest { name }) = request.into_parts();
        let (replies, messages) = mpsc::channel(1);
        tokio::spawn(self.stream(name, &metadata, replies));
        Ok(with_metadata(ReceiverStream::new(messages), "streamheaderkey", "streamtrailerkey"))
    }
}

fn with_metadata<T>(message: T, header: &'static str, trailer: &'static str) -> Response<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert(header, VALUE.parse().expect("the value is visible ASCII"));
    response.extensions_mut().insert(Trailer { name: trailer, value: VALUE });
    response
}
