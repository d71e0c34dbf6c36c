//! A response on its way: counted against its subchannel and bound by the deadline to its last byte.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::{Code, Status};

use super::{
    deadline::Deadline,
    failure::{Failure, broken},
    request::RequestBody,
};
use crate::{outlier::Sign, subchannel::Ready};

/// One attempt under way. However it ends, its subchannel hears of it once.
#[derive(Debug)]
pub(crate) struct InFlight {
    ready: Arc<Ready>,
    /// How it ended; a call that is dropped before that was cancelled by the caller.
    outcome: Code,
    /// Whether the response has begun.
    answered: bool,
    sign: Sign,
}

pin_project_lite::pin_project! {
    /// The body of a response.
    ///
    /// Fails with DEADLINE_EXCEEDED when the call's deadline passes before its end.
    #[derive(Debug)]
    pub struct ResponseBody {
        #[pin]
        body: Incoming,
        address: SocketAddr,
        in_flight: Option<InFlight>,
        deadline: Deadline,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn start(ready: Arc<Ready>) -> Self {
        ready.subchannel.calls.begin();
        Self { ready, outcome: Code::Cancelled, answered: false, sign: Sign::Nothing }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ready.subchannel.endpoint.address
    }

    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        Ok(self.ready.sender.clone().try_send_request(request).await?)
    }

    /// Ends the attempt with a status that the channel itself made.
    pub(crate) fn fail(mut self, code: Code) {
        self.outcome = code;
        if code == Code::DeadlineExceeded && !self.answered {
            self.sign = Sign::Failing;
        }
    }

    /// Ends the attempt as its trailers say.
    fn end(mut self, trailers: &HeaderMap) {
        self.outcome = trailers
            .get(Status::GRPC_STATUS)
            .map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()));
        self.sign = match self.outcome {
            Code::Unavailable | Code::DeadlineExceeded if self.answered => Sign::Nothing,
            Code::Unavailable | Code::DeadlineExceeded => Sign::Failing,
            _ => Sign::Alive,
        };
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.ready.subchannel.calls.end(self.outcome);
        self.ready.subchannel.streak.note(self.sign);
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(crate) fn new(
        response: Response<Incoming>,
        mut in_flight: InFlight,
        deadline: Deadline,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let address = in_flight.address();
        let in_flight = if head.headers.contains_key(Status::GRPC_STATUS) {
            // Trailers-Only: the headers are all there is.
            in_flight.end(&head.headers);
            None
        } else {
            in_flight.answered = true;
            Some(in_flight)
        };
        Response::from_parts(head, Self { body, address, in_flight, deadline, timer: None })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let Poll::Ready(frame) = this.body.poll_frame(cx) else {
            if this.timer.is_none() {
                *this.timer = this.deadline.timer().map(Box::pin);
            }
            let Some(timer) = this.timer else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            if let Some(call) = this.in_flight.take() {
                call.fail(Code::DeadlineExceeded);
            }
            let reading = format!("reading the response of {}", this.address);
            return Poll::Ready(Some(Err(this.deadline.exceeded(&reading))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(call) = this.in_flight.take()
                {
                    call.end(trailers);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let status = broken(&error, *this.address);
                if let Some(call) = this.in_flight.take() {
                    call.fail(status.code());
                }
                Some(Err(status))
            }
            None => {
                // An end without trailers: the client above makes this UNKNOWN.
                if let Some(call) = this.in_flight.take() {
                    call.fail(Code::Unknown);
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
