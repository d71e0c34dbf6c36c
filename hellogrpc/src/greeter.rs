//! The answer.

use std::time::Duration;

use proto::hello::{Greeting, Introduction, hello_server::Hello};
use service::Identity;
use tokio::time;
use tonic::{Request, Response, Status};

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
}

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        if !self.delay.is_zero() {
            time::sleep(self.delay).await;
        }
        let Greeting { name } = request.into_inner();
        let Identity { version, hostname } = self.identity.clone();
        Ok(Response::new(Introduction { name, version, hostname }))
    }
}
