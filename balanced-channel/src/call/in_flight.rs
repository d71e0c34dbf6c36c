//! An attempt in flight: counts it at its subchannel, and reports its end once to the policy, outlier detection, retry
//! throttling and metrics.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Code;

use super::throttle::ThrottleRecorder;
use crate::{
    metrics::{MessageSize, Recording},
    outlier::CallOutcome,
    policy::{DoneInfo, OnDone, PickResult},
    subchannel::ReadySubchannel,
    transport::Http2Client,
};

/// An attempt in flight. Its end is recorded exactly once, also if it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    ready: Arc<ReadySubchannel>,
    /// The time at which the request was sent; `None` if it was not sent.
    sent_at: Option<Instant>,
    /// The policy's hook and the start of the attempt, if the policy has a hook.
    on_done: Option<(Arc<dyn OnDone>, Instant)>,
    /// The status. CANCELLED until the status is known, because a caller cancels a call by dropping it.
    outcome: Code,
    /// The messages of the response so far.
    pub(super) received: MessageSize,
    call_outcome: CallOutcome,
    /// True if the end is no evidence about the endpoint.
    excluded: bool,
    /// Records the end for retry throttling, once the response has begun.
    pub(super) throttle_recorder: Option<ThrottleRecorder>,
    /// The metrics of the call, which ends with this attempt once the response has begun.
    pub(super) recording: Option<Box<Recording>>,
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

    /// Ends the attempt with a status that the channel itself created.
    pub(crate) fn fail(mut self, code: Code) {
        self.outcome = code;
        self.excluded =
            self.sent_at.is_none() || code == Code::DeadlineExceeded && !self.had_min_attempt_time();
        if !self.excluded && code == Code::DeadlineExceeded && self.may_be_unary() {
            self.call_outcome = CallOutcome::Failure;
        }
    }

    /// Ends the attempt when the response ends without a status.
    pub(super) fn fail_without_status(mut self) {
        self.outcome = Code::Unknown;
        self.excluded = false;
        if self.may_be_unary() {
            self.call_outcome = CallOutcome::Failure;
        }
    }

    /// Returns whether the endpoint had enough time for a missed deadline to count as its failure.
    fn had_min_attempt_time(&self) -> bool {
        let min = self.ready.subchannel.consecutive_failures.min_attempt_time();
        self.sent_at.is_some_and(|sent_at| sent_at.elapsed() >= min)
    }

    /// Returns whether at most one message of the response has begun, so that the call may be unary. A stream that
    /// breaks off later is weaker evidence.
    fn may_be_unary(&self) -> bool {
        self.received.messages() <= 1
    }

    /// Calls the policy's hook, the first time.
    fn report_done(&mut self, trailers: Option<&HeaderMap>) {
        if let Some((hook, started)) = self.on_done.take() {
            hook.on_done(&DoneInfo { code: self.outcome, trailers, started });
        }
    }

    /// Ends the attempt with a status that the server sent, and these trailers.
    pub(super) fn end(mut self, code: Code, trailers: &HeaderMap) {
        self.outcome = code;
        self.report_done(Some(trailers));
        self.excluded =
            code == Code::Cancelled || code == Code::DeadlineExceeded && !self.had_min_attempt_time();
        self.call_outcome = match code {
            _ if self.excluded => CallOutcome::Ignored,
            Code::Unavailable | Code::DeadlineExceeded if !self.may_be_unary() => CallOutcome::Ignored,
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
