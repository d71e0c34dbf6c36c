//! A response on its way: counted against its subchannel and bound by the deadline to its last byte.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};

use super::{Call, deadline::Deadline, status_mapping::broken, throttle::ThrottleRecorder};
use crate::{
    metrics::{MessageSize, Recording},
    outlier::CallOutcome,
    policy::{DoneInfo, OnDone, PickResult},
    subchannel::ReadySubchannel,
    transport::{Http2Client, IncomingBody, UploadGuard},
};

/// One attempt under way. However it ends, its subchannel hears of it once.
#[derive(Debug)]
pub(crate) struct InFlight {
    ready: Arc<ReadySubchannel>,
    /// The time at which the request was sent; none if it was not.
    sent_at: Option<Instant>,
    /// The policy's hook and when the attempt began, if the policy wants to know how it ends.
    on_done: Option<(Arc<dyn OnDone>, Instant)>,
    /// How it ended; a call that is dropped before that was cancelled by the caller.
    outcome: Code,
    /// The messages of the response so far.
    received: MessageSize,
    call_outcome: CallOutcome,
    /// True if the end says nothing about the endpoint.
    excluded: bool,
    /// Hears of it too, once the response has begun.
    throttle_recorder: Option<ThrottleRecorder>,
    /// The call itself, which ends with this, once the response has begun.
    recording: Option<Box<Recording>>,
}

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
        // The rest of a streaming request goes on for as long as somebody reads the response.
        upload: Option<UploadGuard>,
    }
}

/// The code that a response's headers say the call has ended with, when they do.
pub(crate) fn code_of<B>(response: &Response<B>) -> Option<Code> {
    // Trailers-Only: the headers are all there is.
    response.headers().get(Status::GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

fn code_of_trailers(trailers: &HeaderMap) -> Code {
    trailers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn start(PickResult { subchannel: ready, on_done }: PickResult) -> Self {
        ready.subchannel.calls.begin();
        Self {
            ready,
            on_done: on_done.map(|hook| (hook, Instant::now())),
            outcome: Code::Cancelled,
            sent_at: None,
            received: MessageSize::default(),
            call_outcome: CallOutcome::Ignored,
            excluded: true,
            throttle_recorder: None,
            recording: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ready.address()
    }

    pub(crate) fn client(&self) -> &Http2Client {
        &self.ready.client
    }

    pub(crate) fn ready(&self) -> &Arc<ReadySubchannel> {
        &self.ready
    }

    /// Records when the request was sent.
    pub(crate) fn sent(&mut self, at: Instant) {
        self.sent_at = Some(at);
    }

    /// Ends the attempt with a status that the channel itself made.
    pub(crate) fn fail(mut self, code: Code) {
        self.outcome = code;
        self.excluded = self.sent_at.is_none() || code == Code::DeadlineExceeded && !self.had_its_time();
        if !self.excluded && code == Code::DeadlineExceeded && self.lacks_a_message() {
            self.call_outcome = CallOutcome::Failure;
        }
    }

    /// Ends the attempt when the response ends without a status.
    fn fail_without_status(mut self) {
        self.outcome = Code::Unknown;
        self.excluded = false;
        if self.lacks_a_message() {
            self.call_outcome = CallOutcome::Failure;
        }
    }

    /// Returns whether the endpoint had the time that the owner of the channel thinks fair.
    fn had_its_time(&self) -> bool {
        let min = self.ready.subchannel.consecutive_failures.min_attempt_time();
        self.sent_at.is_some_and(|sent_at| sent_at.elapsed() >= min)
    }

    /// Returns whether the response may still be that of a unary call. A stream that breaks off later says less about
    /// the endpoint.
    fn lacks_a_message(&self) -> bool {
        self.received.messages() <= 1
    }

    /// Calls the policy's hook, the first time.
    fn report_done(&mut self, trailers: Option<&HeaderMap>) {
        if let Some((hook, started)) = self.on_done.take() {
            hook.on_done(&DoneInfo { code: self.outcome, trailers, started });
        }
    }

    /// Ends the attempt with a status that the server sent, and these trailers.
    fn end(mut self, code: Code, trailers: &HeaderMap) {
        self.outcome = code;
        self.report_done(Some(trailers));
        self.excluded = code == Code::Cancelled || code == Code::DeadlineExceeded && !self.had_its_time();
        self.call_outcome = match code {
            _ if self.excluded => CallOutcome::Ignored,
            Code::Unavailable | Code::DeadlineExceeded if !self.lacks_a_message() => CallOutcome::Ignored,
            Code::Unavailable | Code::DeadlineExceeded => CallOutcome::Failure,
            _ => CallOutcome::Success,
        };
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.report_done(None);
        self.ready.subchannel.calls.end(self.outcome, self.excluded);
        self.ready.subchannel.consecutive_failures.record(self.call_outcome);
        if let Some(throttle_recorder) = &self.throttle_recorder {
            throttle_recorder.record(self.outcome);
        }
        if let Some(mut recording) = self.recording.take() {
            recording.received(self.received);
            recording.end(self.outcome);
        }
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    /// The endpoint that sends the response.
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

    /// Commits the call to this response: `throttle_recorder` and `recording` see how the call ends.
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
            // The headers have ended it, with OK.
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
                    // A server that sends without a pause must not keep a stream alive beyond its deadline. The clock
                    // is not read for the single message of a unary call.
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
                // An end without trailers: the client above makes this UNKNOWN.
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

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::time::advance;

    use super::*;
    use crate::policy::testing::TestSubchannels;

    /// Records the code of each end, whether it had trailers, and the duration of the attempt.
    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<(Code, bool, Duration)>>);

    impl OnDone for Recorder {
        fn on_done(&self, info: &DoneInfo<'_>) {
            let end = (info.code, info.trailers.is_some(), info.started.elapsed());
            self.0.lock().unwrap().push(end);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_calls_the_hook_of_its_pick_once() {
        let subchannels = TestSubchannels::new(1).await;
        let recorder = Arc::new(Recorder::default());
        let start = || {
            let hook: Arc<dyn OnDone> = recorder.clone();
            InFlight::start(PickResult { on_done: Some(hook), ..(&subchannels.ready()[0]).into() })
        };
        let (slow, second) = (start(), Duration::from_secs(1));
        advance(second).await;
        slow.end(Code::NotFound, &HeaderMap::new());
        start().fail(Code::Unavailable);
        drop(start());
        let ends = [
            (Code::NotFound, true, second),
            (Code::Unavailable, false, Duration::ZERO),
            (Code::Cancelled, false, Duration::ZERO),
        ];
        assert_eq!(*recorder.0.lock().unwrap(), ends);
        assert_eq!(subchannels.in_flight(), [0]);
    }
}
