//! Redirects (RFC 9110, section 15.4).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, PROXY_AUTHORIZATION},
};
use http_body_util::Full;
use url::Url;

use crate::target::{Endpoint, Target};

/// The number of redirects that are followed.
pub(super) const MAX_REDIRECTS: usize = 10;

/// A request to the target or to the location of a redirect.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

// === impl Hop ===

impl Hop {
    /// Returns the request as it is sent.
    pub(super) fn request(&self, path: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Returns the request that a response redirects to, and its path. Returns `None` if it is not a redirect.
    ///
    /// # Errors
    ///
    /// Fails with a sentence if the location is not an HTTP URL.
    pub(super) fn next(&self, path: &Uri, response: &Response<Bytes>) -> Result<Option<(Self, Uri)>, String> {
        let status = response.status();
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let location = String::from_utf8_lossy(location.as_bytes());
        let wrong = || format!("HTTP {} redirects to {location:?}, which cannot be called", status.as_u16());
        let from = Url::parse(&format!("{}{path}", self.endpoint.root("http"))).map_err(|_| wrong())?;
        let to = from.join(&location).map_err(|_| wrong())?;
        let Ok(Target::Http(endpoint)) = to.as_str().parse() else { return Err(wrong()) };
        let path = endpoint.path.parse().map_err(|_| wrong())?;

        let mut next = Self { endpoint, ..self.clone() };
        // As browsers do, and RFC 9110 allows.
        let becomes_get = match status {
            StatusCode::SEE_OTHER => next.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => next.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.body = Bytes::new();
            next.headers.remove(CONTENT_TYPE);
        }
        if next.endpoint.root("http") != self.endpoint.root("http") {
            // Not meant for another server.
            for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                next.headers.remove(secret);
            }
            next.headers.insert(HOST, host(&next.endpoint).map_err(|_| wrong())?);
        }
        Ok(Some((next, path)))
    }
}

/// Returns the header `host` of requests to an endpoint.
pub(super) fn host(endpoint: &Endpoint) -> Result<HeaderValue, String> {
    let authority = endpoint.authority();
    let default = if endpoint.tls { ":443" } else { ":80" };
    let host = HeaderValue::from_str(authority.strip_suffix(default).unwrap_or(&authority));
    host.map_err(|_| format!("{authority:?} cannot be a Host header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(method: Method, status: u16, location: &str) -> Result<Option<(Hop, Uri)>, String> {
        let Ok(Target::Http(endpoint)) = "http://a.test/x/y?z".parse() else { panic!("it is a URL") };
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, HeaderValue::from_static("secret")),
            (CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            (HOST, HeaderValue::from_static("a.test")),
        ]);
        let hop = Hop { endpoint, method, headers, body: Bytes::from_static(b"body") };
        let response =
            Response::builder().status(status).header(LOCATION, location).body(Bytes::new()).unwrap();
        hop.next(&"/x/y?z".parse().unwrap(), &response)
    }

    #[test]
    fn redirect_leads_where_its_status_says() {
        for (method, status, location, url, next_method, body) in [
            (Method::GET, 301, "/b", "http://a.test:80/b", Method::GET, "body"),
            (Method::GET, 302, "w?q=1", "http://a.test:80/x/w?q=1", Method::GET, "body"),
            (Method::POST, 302, "/b", "http://a.test:80/b", Method::GET, ""),
            (Method::PUT, 303, "/b", "http://a.test:80/b", Method::GET, ""),
            (Method::POST, 307, "https://b.test/c", "https://b.test:443/c", Method::POST, "body"),
            (Method::PUT, 308, "//b.test:81", "http://b.test:81/", Method::PUT, "body"),
        ] {
            let (hop, path) = next(method, status, location).unwrap().unwrap();
            assert_eq!(format!("{}{path}", hop.endpoint.root("http")), url);
            assert_eq!((&hop.method, &hop.body[..]), (&next_method, body.as_bytes()), "{url}");
            let same = url.contains("a.test");
            assert_eq!(hop.headers.contains_key(AUTHORIZATION), same, "{url}");
            assert_eq!(hop.headers.contains_key(CONTENT_TYPE), !body.is_empty(), "{url}");
            assert_eq!(hop.headers[HOST] == "a.test", same, "{url}");
        }
        assert!(next(Method::GET, 304, "/b").unwrap().is_none());
        for location in ["ftp://b.test/", "http://", "grpc://b.test:1"] {
            assert!(next(Method::GET, 301, location).unwrap_err().contains("which cannot be called"));
        }
    }
}
