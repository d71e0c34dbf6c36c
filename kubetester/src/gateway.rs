//! A gateway's routes as targets: what it lists at `/routes`, each called over `/hellogrpc?via=NAME`.

use std::{str::FromStr, time::Duration};

use helloserve::DEFAULT_ROUTE;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use crate::{
    target::{Endpoint, Target},
    transport::{self, Setup, Unreachable},
};

/// Where a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway(Endpoint);

/// Why a gateway has no routes to call.
#[derive(Debug, thiserror::Error)]
pub enum NoRoutes {
    /// The gateway cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// It says something else.
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
    /// The routes by their names. The default route is left out where there are others: one of them is the same.
    ///
    /// # Errors
    ///
    /// When the gateway does not say which it has within `patience`.
    pub async fn routes(&self, setup: Setup, patience: Duration) -> Result<Vec<(String, Target)>, NoRoutes> {
        let asked = self.at("routes");
        let gateway = Target::Http(asked.clone()).to_string();
        let answer = transport::fetch(asked, setup, patience).await?;
        let listed = answer
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

    /// Reads `http://host:port`, which may have a path before that of the gateway's own. Without a scheme it is http.
    fn from_str(text: &str) -> Result<Self, String> {
        let bare =
            !text.contains("://") && text.parse::<Target>().is_ok_and(|target| target.hint().is_some());
        let url = if bare { format!("http://{text}") } else { text.to_owned() };
        match url.parse::<Target>().map_err(|error| error.to_string())? {
            Target::Http(endpoint) if !endpoint.path.contains('?') => Ok(Self(endpoint)),
            Target::Http(_) => Err("it has a query; write http://host:port".to_owned()),
            _ => Err("no gateway answers there; write http://host:port".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_url_without_a_query() {
        for (text, asked) in [
            ("http://gw:8200", "http://gw:8200/routes"),
            ("http://gw:8200/", "http://gw:8200/routes"),
            ("gw:8200", "http://gw:8200/routes"),
            ("127.0.0.1:8200", "http://127.0.0.1:8200/routes"),
            ("https://gw/hello/", "https://gw:443/hello/routes"),
        ] {
            let gateway: Gateway = text.parse().unwrap();
            assert_eq!(Target::Http(gateway.at("routes")).to_string(), asked);
        }
        for wrong in ["dns:///gw:8200", "grpc://gw:8000", "http://gw/hellogrpc?via=a", "http://"] {
            let sentence = wrong.parse::<Gateway>().unwrap_err();
            assert!(!sentence.is_empty(), "{wrong}");
        }
    }
}
