//! The body of a response. The deadline of the call applies to its last byte.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::{Code, Status};

use super::{
    Call, deadline::Deadline, in_flight::InFlight, status_mapping::broken, throttle::ThrottleRecorder,
};
use crate::{
    metrics::Recording,
    transport::{IncomingBody, UploadGuard},
};

pin_project_lite::pin_project! {
    /// The body of a response.
    ///
    /// Fails with DEADLINE_EXCEEDED when the call's deadline passes before its end.
    #[derive(Debug)]
    pub struct ResponseBody {
        #[pin]
        body: IncomingBody,
        address: SocketAddr,
        in_flight: Option<InFlight>,
        deadline: Deadline,
        timer: Option<Pin<Box<Sleep>>>,
        // Stops the upload of a streaming request when the response is dropped.
        upload: Option<UploadGuard>,
    }
}

/// Returns the status code in the headers of a response, if they end the call.
pub(crate) fn code_of<B>(response: &Response<B>) -> Option<Code> {
    // A Trailers-Only response (gRPC over HTTP/2).
    response.headers().get(Status::GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

fn code_of_trailers(trailers: &HeaderMap) -> Code {
    trailers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
}

// === impl ResponseBody ===

impl ResponseBody {
    /// Returns the address of the endpoint that sends the response.
    pub fn peer(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn new(
        response: Response<IncomingBody>,
        in_flight: InFlight,
        deadline: Deadline,
        upload: Option<UploadGuard>,
    ) -> Response<Self> {
        let address = in_flight.address();
        let in_flight = match code_of(&response) {
            Some(code) => {
                in_flight.end(code, response.headers());
                None
            }
            None => Some(in_flight),
        };
        response.map(|body| Self { body, address, in_flight, deadline, timer: None, upload })
    }
}

impl ResponseBody {
    fn deadline_exceeded(
        in_flight: &mut Option<InFlight>,
        deadline: &Deadline,
        address: SocketAddr,
    ) -> Status {
        if let Some(call) = in_flight.take() {
            call.fail(Code::DeadlineExceeded);
        }
        deadline.exceeded(&format!("reading the response of {address}"))
    }

    /// Commits the call to this response. `throttle_recorder` and `recording` record the end of the call.
    pub(super) fn commit(
        &mut self,
        throttle_recorder: Option<ThrottleRecorder>,
        call: &Call<'_>,
        recording: &mut Option<Box<Recording>>,
    ) {
        if let Some(recording) = recording {
            recording.sends(call.body.sent());
        }
        match &mut self.in_flight {
            Some(in_flight) => {
                in_flight.throttle_recorder = throttle_recorder;
                in_flight.recording = recording.take();
            }
            // The headers end the call with OK.
            None => {
                if let Some(throttle_recorder) = throttle_recorder {
                    throttle_recorder.record(Code::Ok);
                }
            }
        }
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
            return Poll::Ready(Some(Err(Self::deadline_exceeded(
                this.in_flight,
                this.deadline,
                *this.address,
            ))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(call) = this.in_flight.take()
                {
                    call.end(code_of_trailers(trailers), trailers);
                } else if let Some(in_flight) = this.in_flight
                    && let Some(data) = frame.data_ref()
                {
                    // A server that sends continuously must not keep a stream open beyond its deadline. For the single
                    // message of a unary call, the clock is not read.
                    if in_flight.received.messages() > 0 && this.deadline.has_passed() {
                        return Poll::Ready(Some(Err(Self::deadline_exceeded(
                            this.in_flight,
                            this.deadline,
                            *this.address,
                        ))));
                    }
                    in_flight.received.add(data);
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
                // tonic reports an end without trailers as UNKNOWN.
                if let Some(call) = this.in_flight.take() {
                    call.fail_without_status();
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
