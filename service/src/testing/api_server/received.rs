//! The requests that the API server received.

use axum::body::Body;
use http::{Request, header};
use hyper::body::Incoming;
use tokio::time::Instant;

/// The maximum size of a request's body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A request that the API server received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The method, such as GET.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as pairs of names and values.
    pub query: Vec<(String, String)>,
    /// True if the request is a watch.
    pub watch: bool,
    /// The bearer token.
    pub token: Option<String>,
    /// The content type.
    pub content_type: Option<String>,
    /// The body.
    pub body: String,
    /// The time when it arrived.
    pub at: Instant,
}

/// The path of one object, e.g. `/apis/apps/v1/namespaces/default/deployments/hellogrpc/scale`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ObjectPath<'a> {
    /// The path of the collection, which ends with the plural of the resource.
    pub(super) collection: &'a str,
    pub(super) name: &'a str,
    /// The subresource, e.g. `scale`.
    pub(super) subresource: Option<&'a str>,
}

// === impl ReceivedRequest ===

impl ReceivedRequest {
    pub(super) async fn read(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), MAX_BODY).await.unwrap_or_default();
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
        let query = pairs.map(|pairs| pairs.0).unwrap_or_default();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let token = header(header::AUTHORIZATION).and_then(|token| token.strip_prefix("Bearer "));
        let mut received = Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            watch: false,
            token: token.map(str::to_owned),
            query,
            content_type: header(header::CONTENT_TYPE).map(str::to_owned),
            body: String::from_utf8_lossy(&body).into_owned(),
            at: Instant::now(),
        };
        received.watch = received.value("watch").is_some_and(|value| value == "true" || value == "1");
        received
    }

    /// Returns the verb as in RBAC, e.g. `list`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self.method.as_str() {
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ if self.watch => "watch",
            _ if ObjectPath::parse(&self.path).is_some() => "get",
            _ => "list",
        }
    }

    /// Returns the resource as in RBAC, e.g. `pods` or `deployments/scale`.
    #[must_use]
    pub fn resource(&self) -> String {
        match ObjectPath::parse(&self.path) {
            Some(path) => path.resource(),
            None => self.path.rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }

    /// Returns the value of a query parameter.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

// === impl ObjectPath ===

impl<'a> ObjectPath<'a> {
    /// Parses the path of an object; returns `None` for the path of a collection.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let (_, inner) = path.split_once("/namespaces/")?;
        let mut parts = inner.split('/').skip(2);
        let name = parts.next()?;
        let subresource = parts.next();
        let rest = 1 + name.len() + subresource.map_or(0, |sub| 1 + sub.len());
        Some(Self { collection: &path[..path.len() - rest], name, subresource })
    }

    /// Returns the resource as in RBAC, e.g. `deployments/scale`.
    pub(super) fn resource(&self) -> String {
        match self.subresource {
            Some(sub) => format!("{}/{sub}", self.plural()),
            None => self.plural().to_owned(),
        }
    }

    pub(super) fn plural(&self) -> &'a str {
        self.collection.rsplit('/').next().unwrap_or_default()
    }
}
