//! One call: wait for a picker, pick, send, and send again elsewhere what no server has seen.

mod deadline;
mod failure;
mod request;
mod response;

use std::sync::Arc;

use deadline::Deadline;
use http::{
    HeaderValue, Request, Response,
    header::{self, HeaderMap},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme, Uri},
};
pub(crate) use request::RequestBody;
use response::InFlight;
pub use response::ResponseBody;
use tonic::{Code, Status, body::Body};

use crate::{
    method_config::Methods,
    policy::Call,
    pool::{Picker, Pool},
    subchannel::Ready,
};

/// How often a call that a server refused unprocessed is sent again (gRFC A6, transparent retry).
/// Calls that never left are not counted: each of them has seen another connection end.
const MAX_TRANSPARENT_RETRIES: u32 = 5;

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("balanced-channel/", env!("CARGO_PKG_VERSION")));

/// What every call of a channel needs to know.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) pool: Arc<Pool>,
    /// The target as written, for messages.
    pub(crate) target: String,
    pub(crate) authority: Authority,
    pub(crate) wait_for_ready: bool,
    /// How much of a streaming request is kept for a retry, in bytes.
    pub(crate) retry_buffer: usize,
    pub(crate) methods: Methods,
}

// === impl Caller ===

impl Caller {
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<ResponseBody>, Status> {
        let (mut head, body) = request.into_parts();
        let method = self.methods.find(head.uri.path());
        let wait_for_ready = method.wait_for_ready.unwrap_or(self.wait_for_ready);
        let deadline = Deadline::of(&head.headers, method.timeout)?;
        self.address(&mut head)?;
        let body = request::Source::read(body, self.retry_buffer).await?;
        let mut refused = 0;
        loop {
            let ready = self.ready(&Call { headers: &head.headers }, &deadline, wait_for_ready).await?;
            let mut attempt = Request::new(body.attempt());
            clone_head(&head, &mut attempt);
            deadline.stamp(attempt.headers_mut());
            let in_flight = InFlight::start(ready);
            let sent = deadline.bound(in_flight.send(attempt)).await;
            let failure = match sent {
                Some(Ok(response)) => {
                    body.commit();
                    return Ok(ResponseBody::new(response, in_flight, deadline));
                }
                Some(Err(failure)) => failure,
                None => {
                    let address = in_flight.address();
                    in_flight.fail(Code::DeadlineExceeded);
                    return Err(deadline.exceeded(&format!("waiting for {address}")));
                }
            };
            let again = failure.unseen && body.can_repeat() && {
                refused += u32::from(failure.sent);
                refused <= MAX_TRANSPARENT_RETRIES
            };
            if !again {
                let status = failure.status(in_flight.address());
                in_flight.fail(status.code());
                return Err(status);
            }
            tracing::debug!(address = %in_flight.address(), error = failure.why, "call sent again elsewhere");
            in_flight.fail(failure.code);
        }
    }

    /// A subchannel that takes calls now.
    async fn ready(&self, call: &Call<'_>, deadline: &Deadline, wait: bool) -> Result<Arc<Ready>, Status> {
        if let Some(ready) = self.pick(call, wait)? {
            return Ok(ready);
        }
        let mut published = self.pool.subscribe();
        loop {
            // Picked again after subscribing, so that no picker is missed.
            if let Some(ready) = self.pick(call, wait)? {
                return Ok(ready);
            }
            match deadline.bound(published.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => {
                    return Err(Status::unavailable(format!("{}: the channel is closed", self.target)));
                }
                None => {
                    return Err(deadline.exceeded(&format!("waiting for a connection to {}", self.target)));
                }
            }
        }
    }

    fn pick(&self, call: &Call<'_>, wait: bool) -> Result<Option<Arc<Ready>>, Status> {
        match &**self.pool.picker() {
            Picker::Ready(picker) => Ok(picker.pick(call).cloned()),
            Picker::Failing(why) if !wait => Err(Status::unavailable(format!("{}: {why}", self.target))),
            Picker::Failing(_) | Picker::Waiting => Ok(None),
        }
    }

    /// Makes the URI absolute, as HTTP/2 wants it, and says who calls.
    fn address(&self, head: &mut Parts) -> Result<(), Status> {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| Status::internal(format!("the call's path cannot be sent: {error}")))?;
        head.headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        Ok(())
    }
}

fn clone_head<B>(head: &Parts, request: &mut Request<B>) {
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = HeaderMap::clone(&head.headers);
}
