//! One attempt of a call: pick a subchannel, send, and see how the response begins.

use std::pin::{Pin, pin};

use http::Response;
use tonic::{Code, Status};

use super::{
    Call, CallExecutor,
    response::{InFlight, ResponseBody, code_of},
    retry::{AttemptFailure, Progress, Pushback, RetryState},
    status_mapping::SendFailure,
};
use crate::metrics::Recording;

/// How an attempt has come out.
pub(crate) enum AttemptOutcome {
    /// The call is committed to its response.
    Committed(Response<ResponseBody>),
    /// It failed before a response began. The answer is for the caller, if there is no retry.
    Failed(AttemptFailure, CallResult),
}

/// The outcome of a call for its caller.
pub(crate) type CallResult = Result<Response<ResponseBody>, Status>;

impl CallExecutor {
    pub(super) async fn attempt(
        &self,
        call: &Call<'_>,
        retry: &RetryState<'_>,
        recording: &mut Option<Box<Recording>>,
    ) -> AttemptOutcome {
        let pick = match self.wait_for_pick(call, retry.tried()).await {
            Ok(pick) => pick,
            Err(status) => return AttemptOutcome::failed(status),
        };
        let mut in_flight = InFlight::start(pick);
        let sent = {
            // Pinned here: it is large, and a deadline would move it.
            let sending = pin!(in_flight.client().send(|| call.request(retry)));
            in_time(call, retry, sending).await
        };
        let mut response = match sent {
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                let failure = SendFailure::from(error);
                if failure.progress != Progress::NotSent {
                    record_sent(recording, call);
                }
                let status = call
                    .body
                    .error()
                    .unwrap_or_else(|| failure.status(in_flight.address(), retry.previous()));
                let failed = AttemptFailure {
                    progress: failure.progress,
                    ..AttemptFailure::by(in_flight.subchannel(), status.code())
                };
                in_flight.fail(status.code());
                return AttemptOutcome::Failed(failed, Err(status));
            }
            None => {
                record_sent(recording, call);
                let given_up = call.deadline.left().is_none_or(|left| !left.is_zero());
                let doing = format!("waiting for {}", in_flight.address());
                let status = match retry.attempt_timeout().filter(|_| given_up) {
                    Some(attempt_timeout) => {
                        Status::deadline_exceeded(format!("given up after {attempt_timeout:?} {doing}"))
                    }
                    None => call.deadline.exceeded(&doing),
                };
                let failed =
                    AttemptFailure { given_up, ..AttemptFailure::by(in_flight.subchannel(), status.code()) };
                in_flight.fail(status.code());
                return AttemptOutcome::Failed(failed, Err(status));
            }
        };
        record_sent(recording, call);
        retry.stamp(response.headers_mut());
        let failed = code_of(&response).filter(|code| *code != Code::Ok).map(|code| AttemptFailure {
            pushback: Pushback::of(response.headers()),
            ..AttemptFailure::by(in_flight.subchannel(), code)
        });
        let upload = call.body.upload();
        match failed {
            Some(failed) => {
                let response = ResponseBody::new(response, in_flight, call.deadline, upload);
                AttemptOutcome::Failed(failed, Ok(response))
            }
            None => {
                in_flight.commit(retry.throttle_recorder(), recording.take());
                call.body.commit();
                AttemptOutcome::Committed(ResponseBody::new(response, in_flight, call.deadline, upload))
            }
        }
    }
}

/// Waits for the response to begin: until the deadline, or until it has taken so long that another attempt is better.
async fn in_time<F: Future>(
    call: &Call<'_>,
    retry: &RetryState<'_>,
    mut sending: Pin<&mut F>,
) -> Option<F::Output> {
    if let Some(sent) = call.deadline.bound_within(retry.attempt_timeout(), sending.as_mut()).await {
        return Some(sent);
    }
    if retry.attempt_timeout().is_none() || retry.may_give_up(call.body.can_repeat(), call.deadline.left()) {
        return None;
    }
    call.deadline.bound(sending).await
}

fn record_sent(recording: &mut Option<Box<Recording>>, call: &Call<'_>) {
    if let Some(recording) = recording {
        recording.sends(call.body.sent());
    }
}

// === impl AttemptOutcome ===

impl AttemptOutcome {
    /// The channel itself gives the attempt up.
    fn failed(status: Status) -> Self {
        Self::Failed(AttemptFailure::nowhere(status.code()), Err(status))
    }
}
