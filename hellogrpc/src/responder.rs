//! The identity and the delay that all services share.

use std::time::Duration;

use grpc_timeout::GRPC_TIMEOUT;
use humantime::format_duration;
use service::Identity;
use tokio::time;
use tonic::{Status, metadata::MetadataMap};

/// The identity that every service answers with, and the delay before it does.
#[derive(Clone, Debug)]
pub(crate) struct Responder {
    pub(crate) identity: Identity,
    pub(crate) delay: Duration,
}

// === impl Responder ===

impl Responder {
    /// Waits for the delay, or until the caller's deadline when that is sooner.
    ///
    /// # Errors
    ///
    /// DEADLINE_EXCEEDED at the caller's deadline.
    pub(crate) async fn wait(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if self.delay.is_zero() {
            return Ok(());
        }
        match timeout(metadata) {
            Some(timeout) if timeout < self.delay => {
                time::sleep(timeout).await;
                let (timeout, delay) = (format_duration(timeout), format_duration(self.delay));
                Err(Status::deadline_exceeded(format!(
                    "the server answers after {delay} (RESPONSE_DELAY), the caller waits for {timeout}"
                )))
            }
            _ => {
                time::sleep(self.delay).await;
                Ok(())
            }
        }
    }
}

/// Returns the caller's `grpc-timeout`. A value that cannot be read counts as none, as in tonic's own server.
pub(crate) fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    grpc_timeout::parse(metadata.get(GRPC_TIMEOUT.as_str())?.as_bytes())
}
