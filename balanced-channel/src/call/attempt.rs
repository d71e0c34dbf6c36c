//! One attempt of a call: picks a subchannel, sends the request, and waits for the response to begin.

use http::Response;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Call, CallExecutor,
    in_flight::InFlight,
    response::{ResponseBody, code_of},
    retry::{AttemptFailure, Progress, Pushback, stamp},
    status_mapping::{SendFailure, foreign_response_status},
};

/// The outcome of an attempt.
pub(crate) enum AttemptOutcome {
    /// The response has begun, and the call may be committed to it.
    Responded(Response<ResponseBody>),
    /// The attempt failed before a response began. The result is for the caller, if no other attempt follows.
    Failed(AttemptFailure, CallResult),
}

/// The outcome of a call for its caller.
pub(crate) type CallResult = Result<Response<ResponseBody>, Status>;

impl CallExecutor {
    /// Makes an attempt, after `previous` others.
    pub(super) async fn attempt(&self, call: &Call<'_>, previous: u32) -> AttemptOutcome {
        let pick = match self.wait_for_pick(call).await {
            Ok(pick) => pick,
            Err(status) => {
                return AttemptOutcome::Failed(AttemptFailure::without_endpoint(status.code()), Err(status));
            }
        };
        if call.hedged {
            call.tried.push(&pick.subchannel, true);
        }
        let mut in_flight = InFlight::start(pick);
        let mut sent_at = None;
        let sending = in_flight.client().send(|| call.request(previous), || sent_at = Some(Instant::now()));
        let sent = call.deadline.bound(sending).await;
        if let Some(sent_at) = sent_at {
            in_flight.sent(sent_at);
        }
        let (progress, status) = match sent {
            Some(Ok(mut response)) => {
                if let Some(status) = foreign_response_status(&response) {
                    // Puts the status into the headers of the response. This fails only for a message that a header
                    // cannot carry, and tonic percent-encodes the message.
                    let sentence = format!("{}: {}", in_flight.address(), status.message());
                    let _ = Status::new(status.code(), sentence).add_header(response.headers_mut());
                }
                stamp(response.headers_mut(), previous);
                let failed = code_of(&response).filter(|code| *code != Code::Ok).map(|code| AttemptFailure {
                    pushback: Pushback::of(response.headers()),
                    ..AttemptFailure::by(in_flight.address(), code)
                });
                if failed.is_some() {
                    call.tried.failed(in_flight.ready());
                }
                let response = ResponseBody::new(response, in_flight, call.deadline, call.body.upload());
                return match failed {
                    Some(failed) => AttemptOutcome::Failed(failed, Ok(response)),
                    None => AttemptOutcome::Responded(response),
                };
            }
            Some(Err(error)) => {
                let failure = SendFailure::from(error);
                let status =
                    call.body.error().unwrap_or_else(|| failure.status(in_flight.address(), previous));
                (failure.progress, status)
            }
            None => {
                let doing = format!("waiting for {}", in_flight.address());
                (Progress::MaybeProcessed, call.deadline.exceeded(&doing))
            }
        };
        call.tried.failed(in_flight.ready());
        let failed = AttemptFailure { progress, ..AttemptFailure::by(in_flight.address(), status.code()) };
        in_flight.fail(status.code());
        AttemptOutcome::Failed(failed, Err(status))
    }
}
