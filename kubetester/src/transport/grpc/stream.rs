//! A stream that is held open.

use std::{net::SocketAddr, sync::Arc};

use balanced_channel::status_name;
use bytes::Bytes;
use http::HeaderMap;
use tonic::{Status, Streaming};

use super::{Client, Response, Shared, prepared::PreparedMethod, status};
use crate::{
    sanitize,
    streams::{End, Opened, StreamSource},
};

/// Opens streams of one method, one at a time.
pub struct StreamCaller {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) open: Option<OpenStream>,
}

/// The stream that is open.
pub(super) struct OpenStream {
    headers: HeaderMap,
    messages: Streaming<Bytes>,
    /// True if the first message that names the pod is still awaited.
    unnamed: bool,
}

// === impl StreamCaller ===

impl StreamCaller {
    /// Returns the pod that a response names. A response that cannot be read names none.
    fn pod(&self, prepared: &PreparedMethod, headers: &HeaderMap, message: Option<&Bytes>) -> Option<String> {
        let response = Response::stream_so_far(headers.clone(), message.cloned());
        self.client.pod(prepared, &response, true).ok().flatten().map(|pod| sanitize::name(pod.name))
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.client.last.get().peer
    }
}

impl StreamSource for StreamCaller {
    async fn open(&mut self) -> Result<Opened, End> {
        self.open = None;
        let prepared = match self.shared.prepared(&self.client).await {
            Ok(prepared) => prepared,
            Err(error) => {
                return Err(End {
                    status: "UNKNOWN".to_owned(),
                    error: Some(sanitize::reason(error.to_string())),
                });
            }
        };
        let opened = self.client.open(prepared, &self.shared.metadata).await;
        let (headers, messages) = opened.map_err(|status| end(&status, prepared))?;
        let unnamed = prepared.reader.wants_message(&headers);
        let pod = if unnamed { None } else { self.pod(prepared, &headers, None) };
        self.open = Some(OpenStream { headers, messages, unnamed });
        Ok(Opened { pod, peer: self.peer() })
    }

    async fn message(&mut self) -> Result<Option<String>, End> {
        let over = || End { status: "OK".to_owned(), error: None };
        let (Some(prepared), Some(open)) = (self.shared.prepared.get(), &mut self.open) else {
            return Err(over());
        };
        match open.messages.message().await {
            Ok(Some(message)) => {
                if !std::mem::take(&mut open.unnamed) {
                    return Ok(None);
                }
                let headers = open.headers.clone();
                Ok(self.pod(prepared, &headers, Some(&message)))
            }
            Ok(None) => Err(over()),
            Err(status) => Err(end(&self.client.explain(status), prepared)),
        }
    }
}

fn end(status: &Status, prepared: &PreparedMethod) -> End {
    End {
        status: status_name(status.code()).to_owned(),
        error: Some(sanitize::reason(status::describe_status(status, &prepared.method.path))),
    }
}
