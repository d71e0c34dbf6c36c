//! Where the HTTP backend is, and how a request to it looks.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::{ACCEPT, HOST, USER_AGENT},
};
use http_body_util::Empty;
use tokio::time::timeout;
use url::{Host, Position, Url, form_urlencoded};

use super::connection::Connection;
use crate::upstream::dns::RotatingResolver;

const EVERYTHING: HeaderValue = HeaderValue::from_static("*/*");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("helloserve/", env!("CARGO_PKG_VERSION")));

/// The backend by its name.
#[derive(Debug)]
pub(super) struct Server {
    host: Host<String>,
    port: u16,
    resolver: RotatingResolver,
    /// How long a connection may take to come up, on all addresses together.
    patience: Duration,
    /// The host and the port as the `host` header has them.
    authority: HeaderValue,
    /// The path, and the query as far as it is always the same: the name is put behind it.
    path: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Refused(#[from] io::Error),
    #[error("no connection came up in time")]
    Late,
}

// === impl Server ===

impl Server {
    /// The server of a URL that [`crate::config`] accepted.
    pub(super) fn new(url: &Url, resolver: RotatingResolver, patience: Duration) -> Self {
        let valid = "an http:// URL has a host, and no character that a header cannot have";
        let separator = if url.query().is_some() { '&' } else { '?' };
        Self {
            host: url.host().expect(valid).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            resolver,
            patience,
            authority: HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).expect(valid),
            path: format!("{}{separator}name=", &url[Position::BeforePath..Position::AfterQuery]),
        }
    }

    /// A new connection, to the next of the server's addresses or the first behind it that answers.
    ///
    /// # Errors
    ///
    /// Why the last that was tried did not.
    pub(super) async fn connect(&self) -> Result<Connection, Unreachable> {
        let addresses = match &self.host {
            Host::Domain(name) => self.resolver.addresses(name).await.map_err(Unreachable::Unknown)?,
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        };
        // An address that swallows packets must leave time for the others.
        let share = self.patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut why = Unreachable::Unknown("its name has no address".to_owned());
        for address in addresses {
            match timeout(share, Connection::open(SocketAddr::new(address, self.port))).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => why = Unreachable::Refused(error),
                Err(_) => why = Unreachable::Late,
            }
        }
        Err(why)
    }

    /// Asks for `name` to be greeted, with these headers beside its own.
    pub(super) fn request(&self, name: &str, headers: &HeaderMap) -> Request<Empty<Bytes>> {
        let mut path = String::with_capacity(self.path.len() + name.len());
        path.push_str(&self.path);
        path.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        let mut request = Request::new(Empty::new());
        *request.uri_mut() =
            Uri::try_from(path).expect("the path of a URL, and an encoded query, are a path and a query");
        let own = request.headers_mut();
        own.reserve(3 + headers.len());
        own.insert(HOST, self.authority.clone());
        own.insert(USER_AGENT, OURSELVES);
        own.insert(ACCEPT, EVERYTHING);
        own.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        request
    }
}
