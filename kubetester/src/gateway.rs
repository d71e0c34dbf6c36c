//! Lists a gateway's routes from its `/routes` and makes each a target, `/hellogrpc?via=NAME`.

use std::{str::FromStr, time::Duration};

use helloserve::DEFAULT_ROUTE;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use crate::{
    target::{Endpoint, Target},
    transport::{self, Setup, Unreachable},
};

/// The URL of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway(Endpoint);

/// Listing the routes of a gateway failed.
#[derive(Debug, thiserror::Error)]
pub enum NoRoutes {
    /// The gateway cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The response is not a list of routes.
    #[error("{gateway} does not list its routes as a helloserve does: {why}")]
    Answer {
        /// The URL of the request.
        gateway: String,
        /// The problem with the response.
        why: String,
    },
}

#[derive(Deserialize)]
struct Listed {
    routes: Vec<Route>,
}

/// The part of a route that the tool uses.
#[derive(Deserialize)]
struct Route {
    name: String,
}

// === impl Gateway ===

impl Gateway {
    /// Returns the routes with their names. The default route is left out if there are other routes, because it is the
    /// same as one of them.
    ///
    /// # Errors
    ///
    /// Fails if the gateway does not list its routes within `timeout`.
    pub async fn routes(&self, setup: Setup, timeout: Duration) -> Result<Vec<(String, Target)>, NoRoutes> {
        let url = self.at("routes");
        let gateway = Target::Http(url.clone()).to_string();
        let response = transport::fetch(url, setup, timeout).await?;
        let listed = response
            .and_then(|body| serde_json::from_slice::<Listed>(&body).map_err(|error| error.to_string()));
        let mut routes = listed.map_err(|why| NoRoutes::Answer { gateway, why })?.routes;
        if routes.len() > 1 {
            routes.retain(|route| route.name != DEFAULT_ROUTE);
        }
        let target = |Route { name }| {
            let via: String = byte_serialize(name.as_bytes()).collect();
            (name, Target::Http(self.at(&format!("hellogrpc?via={via}"))))
        };
        Ok(routes.into_iter().map(target).collect())
    }

    fn at(&self, path: &str) -> Endpoint {
        Endpoint { path: format!("{}/{path}", self.0.path.trim_end_matches('/')), ..self.0.clone() }
    }
}

impl FromStr for Gateway {
    type Err = String;

    /// Parses `http://host:port`, optionally with a path prefix. The default scheme is http.
    fn from_str(text: &str) -> Result<Self, String> {
        let bare =
            !text.contains("://") && text.parse::<Target>().is_ok_and(|target| target.hint().is_some());
        let url = if bare { format!("http://{text}") } else { text.to_owned() };
        match url.parse::<Target>().map_err(|error| error.to_string())? {
            Target::Http(endpoint) if !endpoint.path.contains('?') => Ok(Self(endpoint)),
            Target::Http(_) => Err("it has a query; write http://host:port".to_owned()),
            _ => Err("it is not the URL of a gateway; write http://host:port".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_is_a_url_without_a_query() {
        for (text, url) in [
            ("http://gw:8200", "http://gw:8200/routes"),
            ("http://gw:8200/", "http://gw:8200/routes"),
            ("gw:8200", "http://gw:8200/routes"),
            ("127.0.0.1:8200", "http://127.0.0.1:8200/routes"),
            ("https://gw/hello/", "https://gw:443/hello/routes"),
        ] {
            let gateway: Gateway = text.parse().unwrap();
            assert_eq!(Target::Http(gateway.at("routes")).to_string(), url);
        }
        for wrong in ["dns:///gw:8200", "grpc://gw:8000", "http://gw/hellogrpc?via=a", "http://"] {
            let sentence = wrong.parse::<Gateway>().unwrap_err();
            assert!(!sentence.is_empty(), "{wrong}");
        }
    }
}
