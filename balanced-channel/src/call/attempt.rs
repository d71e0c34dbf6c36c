//! One attempt of a call: pick a subchannel, send, and see how the response begins.

use std::pin::{Pin, pin};

use http::Response;
use tonic::{Code, Status};

use super::{
    Call, Caller,
    response::{InFlight, ResponseBody, code_of},
    retry::{Failed, Pushback, Retry, Seen},
    status_mapping::Failure,
};
use crate::metrics::Recording;

/// How an attempt has come out.
pub(crate) enum Outcome {
    /// The call is committed to its response.
    Committed(Response<ResponseBody>),
    /// It failed before a response began. The answer is for the caller, if there is no retry.
    Failed(Failed, Answer),
}

/// What the caller of a call gets.
pub(crate) type Answer = Result<Response<ResponseBody>, Status>;

impl Caller {
    pub(super) async fn attempt(
        &self,
        call: &Call<'_>,
        retry: &Retry<'_>,
        recording: &mut Option<Box<Recording>>,
    ) -> Outcome {
        let ready = match self.ready(call, retry.tried()).await {
            Ok(ready) => ready,
            Err(status) => return Outcome::failed(status),
        };
        let mut in_flight = InFlight::start(ready);
        let sent = {
            // Pinned here: it is large, and a deadline would move it.
            let sending = pin!(in_flight.sender().send(|| call.request(retry)));
            in_time(call, retry, sending).await
        };
        let mut response = match sent {
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                let failure = Failure::from(error);
                if failure.seen != Seen::NeverLeft {
                    note_sent(recording, call);
                }
                let status = call
                    .body
                    .broken()
                    .unwrap_or_else(|| failure.status(in_flight.address(), retry.previous()));
                let failed =
                    Failed { seen: failure.seen, ..Failed::by(in_flight.subchannel(), status.code()) };
                in_flight.fail(status.code());
                return Outcome::Failed(failed, Err(status));
            }
            None => {
                note_sent(recording, call);
                let given_up = call.deadline.left().is_none_or(|left| !left.is_zero());
                let doing = format!("waiting for {}", in_flight.address());
                let status = match retry.patience().filter(|_| given_up) {
                    Some(patience) => {
                        Status::deadline_exceeded(format!("given up after {patience:?} {doing}"))
                    }
                    None => call.deadline.exceeded(&doing),
                };
                let failed = Failed { given_up, ..Failed::by(in_flight.subchannel(), status.code()) };
                in_flight.fail(status.code());
                return Outcome::Failed(failed, Err(status));
            }
        };
        note_sent(recording, call);
        retry.stamp(response.headers_mut());
        let failed = code_of(&response).filter(|code| *code != Code::Ok).map(|code| Failed {
            pushback: Pushback::of(response.headers()),
            ..Failed::by(in_flight.subchannel(), code)
        });
        let upload = call.body.upload();
        match failed {
            Some(failed) => {
                let response = ResponseBody::new(response, in_flight, call.deadline, upload);
                Outcome::Failed(failed, Ok(response))
            }
            None => {
                in_flight.commit(retry.tally(), recording.take());
                call.body.commit();
                Outcome::Committed(ResponseBody::new(response, in_flight, call.deadline, upload))
            }
        }
    }
}

/// Waits for the response to begin: until the deadline, or until it has taken so long that another attempt is better.
async fn in_time<F: Future>(
    call: &Call<'_>,
    retry: &Retry<'_>,
    mut sending: Pin<&mut F>,
) -> Option<F::Output> {
    if let Some(sent) = call.deadline.bound_within(retry.patience(), sending.as_mut()).await {
        return Some(sent);
    }
    if retry.patience().is_none() || retry.may_give_up(call.body.can_repeat(), call.deadline.left()) {
        return None;
    }
    call.deadline.bound(sending).await
}

fn note_sent(recording: &mut Option<Box<Recording>>, call: &Call<'_>) {
    if let Some(recording) = recording {
        recording.sends(call.body.sent());
    }
}

// === impl Outcome ===

impl Outcome {
    /// The channel itself gives the attempt up.
    fn failed(status: Status) -> Self {
        Self::Failed(Failed::nowhere(status.code()), Err(status))
    }
}
