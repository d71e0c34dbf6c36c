//! A call: its attempts, until one succeeds or no further attempt is allowed.
//!
//! - `request_head`: the URI and headers of an attempt. `deadline`: the deadline of all attempts together.
//! - `attempt`: picks a subchannel, sends, and waits for the response to begin. `pick` waits for a subchannel;
//!   `status_mapping` maps the transport's errors to gRPC's status codes.
//! - `retry`: decides whether and when another attempt follows a failed one. `hedge`: starts further attempts while one
//!   is slow. `throttle`: stops both while many calls fail. Throttle and hedging budget are a `token_bucket` each.
//! - `in_flight`: counts an attempt at its subchannel until it ends. `response`: the body, to its last byte.

mod attempt;
mod deadline;
mod hedge;
mod in_flight;
mod pick;
mod request_head;
mod response;
mod retry;
mod status_mapping;
mod throttle;
mod token_bucket;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use attempt::{AttemptOutcome, CallResult};
use deadline::Deadline;
pub(crate) use hedge::HedgeBudget;
use http::{
    Request, Version,
    request::Parts,
    uri::{Authority, Scheme},
};
use pick::Tried;
pub use response::ResponseBody;
use response::code_of;
use retry::{RetryState, stamp};
pub use status_mapping::foreign_response_status;
pub(crate) use throttle::RetryThrottle;
use tokio::{task::yield_now, time::sleep};
use tonic::{Code, body::Body};

use crate::{
    balancer::Published,
    metrics::{Metrics, Recording},
    service_config::Methods,
    transport::{AttemptBody, ReplayBody},
};

/// The settings and state that all calls of a channel share.
#[derive(Debug)]
pub(crate) struct CallExecutor {
    pub(crate) published: Arc<Published>,
    /// The target as written, for error messages.
    pub(crate) target: String,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) wait_for_ready: bool,
    /// The number of bytes of a streaming request that are kept for a retry.
    pub(crate) retry_buffer: usize,
    pub(crate) methods: Methods,
    pub(crate) throttle: Option<Arc<RetryThrottle>>,
    pub(crate) hedge_budget: HedgeBudget,
    pub(crate) retries: RetryCounters,
    pub(crate) metrics: Metrics,
}

/// Counts attempts after the first, by reason.
#[derive(Debug, Default)]
pub(crate) struct RetryCounters {
    pub(crate) transparent: AtomicU64,
    pub(crate) by_policy: AtomicU64,
    pub(crate) hedges: AtomicU64,
}

/// The state that all attempts of a call share.
#[derive(Debug)]
struct Call<'a> {
    head: &'a Parts,
    body: ReplayBody,
    deadline: Deadline,
    wait_for_ready: bool,
    tried: Tried,
    /// True if attempts may run concurrently.
    hedged: bool,
}

// === impl CallExecutor ===

impl CallExecutor {
    pub(crate) async fn call(&self, head: &mut Parts, body: Body) -> CallResult {
        let mut recording = self.metrics.calls.as_ref().map(|calls| calls.start(&head.extensions));
        let answer = self.attempts(head, body, &mut recording).await;
        // If a response has begun, it owns the recording.
        if let Some(recording) = recording {
            recording.end(match &answer {
                Ok(response) => code_of(response).unwrap_or(Code::Unknown),
                Err(status) => status.code(),
            });
        }
        answer
    }

    async fn attempts(
        &self,
        head: &mut Parts,
        body: Body,
        recording: &mut Option<Box<Recording>>,
    ) -> CallResult {
        let method = self.methods.find(head.uri.path());
        let deadline = Deadline::of(&head.headers, method.timeout)?;
        self.address(head)?;
        let body = ReplayBody::read(body, self.retry_buffer).await?;
        let wait_for_ready = method.wait_for_ready.unwrap_or(self.wait_for_ready);
        let hedging = method.hedging_policy.as_ref();
        let hedged = hedging.is_some();
        let call = Call { head, body, deadline, wait_for_ready, tried: Tried::default(), hedged };
        let mut retry = RetryState::new(method.retry_policy.as_ref(), self.throttle.as_ref());
        let failures = hedging.map(|policy| policy.non_fatal_status_codes);
        loop {
            if let Some(recording) = recording {
                recording.attempt_begins();
            }
            let outcome = match hedging {
                Some(policy) => self.hedged_attempts(&call, policy, recording).await,
                None => self.attempt(&call, retry.previous()).await,
            };
            let (failed, answer) = match outcome {
                AttemptOutcome::Responded(mut response) => {
                    call.body.commit();
                    response.body_mut().commit(retry.throttle_recorder(failures), &call, recording);
                    return Ok(response);
                }
                AttemptOutcome::Failed(_, answer) if hedged => return answer,
                AttemptOutcome::Failed(failed, answer) => (failed, answer),
            };
            if let Some(recording) = recording {
                if failed.was_sent() {
                    recording.sends(call.body.sent());
                }
                recording.attempt_failed(failed.code);
            }
            let previous = retry.previous();
            let Some(wait) = retry.after(&failed, call.body.can_repeat(), call.deadline.left()) else {
                return answer;
            };
            let address = failed.address;
            tracing::debug!(target = self.target, ?address, code = ?failed.code, progress = ?failed.progress, ?wait, "retrying call");
            let transparent = retry.previous() == previous;
            let count = if transparent { &self.retries.transparent } else { &self.retries.by_policy };
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(recording) = recording {
                recording.resent(transparent);
            }
            drop(answer);
            if wait.is_zero() {
                // Lets the task of the connection that refused the call run, so that it reports the refusal.
                yield_now().await;
            } else {
                sleep(wait).await;
            }
        }
    }
}

// === impl Call ===

impl Call<'_> {
    /// Creates the request of an attempt, after `previous` others.
    fn request(&self, previous: u32) -> Request<AttemptBody> {
        let mut request = Request::new(self.body.attempt());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.head.headers.clone();
        self.deadline.stamp(request.headers_mut());
        stamp(request.headers_mut(), previous);
        request
    }
}
