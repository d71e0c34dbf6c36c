//! The deadline of a call, from the wait for a subchannel to the last byte of the response: the shorter of its
//! `grpc-timeout` header and the timeout in its method's config.

use std::{future::Future, time::Duration};

use futures_util::{FutureExt, future::Either};
use grpc_timeout::GRPC_TIMEOUT;
use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;

/// The time by which a call must have ended, if it has a deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<(Instant, Duration)>,
    /// True if the deadline comes from the caller's header.
    written: bool,
}

// === impl Deadline ===

impl Deadline {
    /// Computes the deadline from the `grpc-timeout` header and `limit`.
    pub(crate) fn of(headers: &HeaderMap, limit: Option<Duration>) -> Result<Self, Status> {
        let requested = match headers.get(GRPC_TIMEOUT) {
            Some(value) => Some(grpc_timeout::parse(value.as_bytes()).ok_or_else(|| {
                Status::invalid_argument(format!("the grpc-timeout header {value:?} is not a gRPC timeout"))
            })?),
            None => None,
        };
        let timeout = match (requested, limit) {
            (Some(requested), Some(limit)) => Some(requested.min(limit)),
            (requested, limit) => requested.or(limit),
        };
        // A timeout beyond the clock's range is no deadline.
        let at = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        Ok(Self { at, written: timeout == requested })
    }

    /// Sets the header of an attempt to the time left.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        let Some((at, timeout)) = self.at else { return };
        let left = at.saturating_duration_since(Instant::now());
        // A first attempt that is sent at once keeps the header of the caller.
        if !self.written || timeout.saturating_sub(left) >= Duration::from_millis(1) {
            headers.insert(GRPC_TIMEOUT, grpc_timeout::format(left));
        }
    }

    /// Returns the time that the call may still take.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.map(|(at, _)| at.saturating_duration_since(Instant::now()))
    }

    /// Runs `work` until the deadline; `None` when it has passed.
    pub(crate) fn bound<F: Future>(&self, work: F) -> impl Future<Output = Option<F::Output>> {
        match self.at {
            Some((at, _)) => Either::Left(timeout_at(at, work).map(Result::ok)),
            None => Either::Right(work.map(Some)),
        }
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn has_passed(&self) -> bool {
        self.at.is_some_and(|(at, _)| at <= Instant::now())
    }

    /// Returns a timer that ends at the deadline.
    pub(crate) fn timer(&self) -> Option<Sleep> {
        self.at.map(|(at, _)| sleep_until(at))
    }

    /// Returns the status of a call whose deadline passed while `doing` something.
    pub(crate) fn exceeded(&self, doing: &str) -> Status {
        let timeout = self.at.map(|(_, timeout)| timeout).unwrap_or_default();
        Status::deadline_exceeded(format!("the deadline of {timeout:?} passed while {doing}"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn malformed_timeout_is_an_invalid_argument() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("soon"));
        let status = Deadline::of(&headers, None).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn later_attempt_sends_the_time_left() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
        let deadline = Deadline::of(&headers, None).unwrap();
        deadline.stamp(&mut headers);
        assert_eq!(headers[GRPC_TIMEOUT], "1S");
        tokio::time::advance(Duration::from_millis(400)).await;
        deadline.stamp(&mut headers);
        assert_eq!(headers[GRPC_TIMEOUT], "600000u");
        assert_eq!(deadline.bound(std::future::pending::<()>()).await, None);
    }

    #[test]
    fn shorter_of_header_and_config_is_effective_and_sent() {
        let sent = |header: Option<&'static str>, limit: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|value| (GRPC_TIMEOUT, HeaderValue::from_static(value))));
            let deadline = Deadline::of(&headers, limit.map(Duration::from_secs)).unwrap();
            deadline.stamp(&mut headers);
            let seconds = grpc_timeout::parse(headers.get(GRPC_TIMEOUT)?.as_bytes())?.as_secs_f64();
            Some((deadline.at?.1.as_secs(), seconds.round() as u64))
        };
        assert_eq!(sent(None, None), None);
        assert_eq!(sent(Some("3S"), None), Some((3, 3)));
        assert_eq!(sent(None, Some(5)), Some((5, 5)));
        assert_eq!(sent(Some("3S"), Some(5)), Some((3, 3)));
        assert_eq!(sent(Some("3S"), Some(2)), Some((2, 2)));
    }
}
