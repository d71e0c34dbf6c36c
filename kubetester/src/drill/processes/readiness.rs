//! Readiness checks of programs that were started.

use std::{fmt, str::FromStr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use crate::{
    target::{Endpoint, Target},
    transport::{self, Setup},
};

/// The timeout of one readiness check.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The readiness check of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// `host:port` accepts connections.
    Accepts(String),
    /// The URL answers 2xx.
    Answers(Endpoint),
}

// === impl Readiness ===

impl Readiness {
    /// Checks once.
    pub(super) async fn is_ready(&self) -> bool {
        match self {
            Self::Accepts(address) => {
                matches!(timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_)))
            }
            Self::Answers(endpoint) => {
                let answer = transport::fetch(endpoint.clone(), Setup::default(), ANSWER_TIMEOUT).await;
                matches!(answer, Ok(Ok(_)))
            }
        }
    }
}

impl FromStr for Readiness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return match text.parse() {
                Ok(Target::Http(endpoint)) => Ok(Self::Answers(endpoint)),
                Ok(_) => Err(format!("{text} is no http:// or https:// URL")),
                Err(error) => Err(error.to_string()),
            };
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.and_then(|(_, port)| port.parse().ok()) {
            Some(1_u16..) => Ok(Self::Accepts(text.to_owned())),
            _ => Err(format!("{text:?} is neither a URL nor host:port")),
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepts(address) => f.write_str(address),
            Self::Answers(endpoint) => write!(f, "{}{}", endpoint.root("http"), endpoint.path),
        }
    }
}
