//! Errors of requests to the API server: one sentence with a remedy.

use std::{error::Error, fmt, time::Duration};

use super::model::ApiStatus;

/// A request to the API server failed.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) message: String,
    /// The minimum wait that the server requests.
    pub(crate) wait: Option<Duration>,
    /// True if a watch from the same version may fail again for the same reason, e.g. 410 Gone.
    pub(crate) relist: bool,
}

/// The account that sends a request, and the object of the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The URL of the API server.
    pub(crate) server: String,
    pub(crate) namespace: String,
}

// === impl ApiError ===

impl ApiError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), wait: None, relist: false }
    }
}

// === impl RequestContext ===

impl RequestContext {
    /// Returns the error for an error status.
    pub(crate) fn rejected(&self, status: &ApiStatus, wait: Option<Duration>) -> ApiError {
        let Self { server, namespace } = self;
        let message = match status.code {
            410 => format!(
                "the Kubernetes API at {server} rejects the version of its own list as expired (410 Gone)"
            ),
            401 => format!(
                "the Kubernetes API at {server} rejects this account's token (401 Unauthorized): it has \
                 expired or the account is gone; it is read again at each attempt"
            ),
            403 => {
                let user = user(&status.message).unwrap_or("this account");
                format!(
                    "{user} may not read EndpointSlices (403 Forbidden): bind it, in namespace {namespace}, to a \
                     Role with list and watch on endpointslices of discovery.k8s.io"
                )
            }
            code => format!("the Kubernetes API at {server} answers {code}: {}", status.message),
        };
        ApiError { message, wait, relist: true }
    }

    /// Returns the error for a request without a response.
    pub(crate) fn call_failed(&self, error: &(dyn Error + 'static)) -> ApiError {
        ApiError::new(format!(
            "the call to the Kubernetes API at {} failed: {}",
            self.server,
            innermost(error)
        ))
    }

    /// Returns the error for a request that exceeded its timeout.
    pub(crate) fn timed_out(&self, bound: Duration) -> ApiError {
        ApiError::new(format!("the Kubernetes API at {} did not answer within {bound:?}", self.server))
    }

    /// Returns the error for watches that end without an event again and again.
    pub(crate) fn watches_end_at_once(&self) -> ApiError {
        ApiError::new(format!("the Kubernetes API at {} ends every watch at once", self.server))
    }

    /// Returns the error for a response of the wrong kind.
    pub(crate) fn unexpected_response(&self, error: impl fmt::Display) -> ApiError {
        let message = format!("the response of the Kubernetes API at {} is invalid: {error}", self.server);
        ApiError { relist: true, ..ApiError::new(message) }
    }
}

/// Returns the account in a message like `… is forbidden: User "system:serviceaccount:ns:name" cannot …`.
fn user(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    (!user.is_empty() && user.len() <= 80).then_some(user)
}

/// Returns the innermost error. The outer errors have no further information.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
