//! Why the API server gave no answer, in one sentence that says what to do about it.

use std::{error::Error, fmt, time::Duration};

use super::model::Status;

/// An answer that is not one.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) sentence: String,
    /// The least wait that the server asks for.
    pub(crate) wait: Option<Duration>,
    /// Whether a watch from the same version may fail for ever in the same way, such as with 410 Gone.
    pub(crate) relist: bool,
}

/// Who is asked, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The URL of the API server.
    pub(crate) server: String,
    pub(crate) namespace: String,
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), wait: None, relist: false }
    }
}

// === impl Asked ===

impl Asked {
    /// What a refusal means.
    pub(crate) fn refused(&self, status: &Status, wait: Option<Duration>) -> Fault {
        let Self { server, namespace } = self;
        let sentence = match status.code {
            410 => format!("the Kubernetes API at {server} forgets at once what it has listed (410 Gone)"),
            401 => format!(
                "the Kubernetes API at {server} does not take this account's token (401 Unauthorized): it has \
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
        Fault { sentence, wait, relist: true }
    }

    /// The call did not come to an answer.
    pub(crate) fn broken(&self, error: &(dyn Error + 'static)) -> Fault {
        Fault::new(format!("the call to the Kubernetes API at {} failed: {}", self.server, innermost(error)))
    }

    /// There was no answer in time.
    pub(crate) fn silent(&self, bound: Duration) -> Fault {
        Fault::new(format!("the Kubernetes API at {} did not answer within {bound:?}", self.server))
    }

    /// Its watches last for no time.
    pub(crate) fn restless(&self) -> Fault {
        Fault::new(format!("the Kubernetes API at {} ends every watch at once", self.server))
    }

    /// What came is not what was asked for.
    pub(crate) fn nonsense(&self, error: impl fmt::Display) -> Fault {
        let sentence = format!("the Kubernetes API at {} answers with something else: {error}", self.server);
        Fault { relist: true, ..Fault::new(sentence) }
    }
}

/// The account that the server names in `… is forbidden: User "system:serviceaccount:ns:name" cannot …`.
fn user(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    (!user.is_empty() && user.len() <= 80).then_some(user)
}

/// What went wrong; the errors around it say where, which is known here.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
