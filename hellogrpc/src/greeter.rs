//! The answer.

use std::time::Duration;

use humantime::format_duration;
use proto::hello::{Greeting, Introduction, hello_server::Hello};
use service::{Identity, grpc_timeout};
use tokio::time;
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// Says hello with the caller's name, and who it is.
#[derive(Debug)]
pub(crate) struct Greeter {
    identity: Identity,
    delay: Duration,
}

// === impl Greeter ===

impl Greeter {
    pub(crate) fn new(identity: Identity, delay: Duration) -> Self {
        Self { identity, delay }
    }

    /// Waits for the delay, or for as long as the caller does.
    async fn wait(&self, allowed: Option<Duration>) -> Result<(), Status> {
        match allowed {
            Some(allowed) if allowed < self.delay => {
                time::sleep(allowed).await;
                let (allowed, delay) = (format_duration(allowed), format_duration(self.delay));
                Err(Status::deadline_exceeded(format!(
                    "answers take {delay} here, the caller waits for {allowed}"
                )))
            }
            _ => {
                time::sleep(self.delay).await;
                Ok(())
            }
        }
    }
}

/// What the caller says in `grpc-timeout`. A value that cannot be read counts as none, as in tonic's own server.
fn time_allowed(metadata: &MetadataMap) -> Option<Duration> {
    grpc_timeout::parse(metadata.get(grpc_timeout::HEADER)?.as_bytes())
}

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        if !self.delay.is_zero() {
            self.wait(time_allowed(request.metadata())).await?;
        }
        let Greeting { name } = request.into_inner();
        let Identity { version, hostname } = self.identity.clone();
        Ok(Response::new(Introduction { name, version, hostname }))
    }
}
