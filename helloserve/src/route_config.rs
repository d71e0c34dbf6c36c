//! Parses `GRPC_ROUTES`: named routes to gRPC backends beside the default one, as a JSON list.

use std::{collections::HashSet, str::FromStr};

use balanced_channel::{ServiceConfig, Target};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::grpc_target::grpc_target;

/// The name of the route to `GRPC_TARGET`, reserved.
pub const DEFAULT: &str = "default";

/// Routes with distinct names. Empty by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteConfigs(pub(crate) Vec<RouteConfig>);

/// A configured route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteConfig {
    /// The value of `?via=` that selects the route; never empty.
    pub(crate) name: String,
    /// `None` stands for `GRPC_TARGET`.
    pub(crate) target: Option<Target>,
    /// `None` stands for `GRPC_SERVICE_CONFIG`; a value replaces it as a whole.
    pub(crate) service_config: Option<ServiceConfig>,
}

/// The JSON is not a list of routes. The message starts with the path, such as `[1].serviceConfig`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRoutes(String);

/// A route in JSON. Unknown fields are errors: a misspelled `serviceConfig` would silently apply another policy.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json<'a> {
    name: String,
    target: Option<String>,
    #[serde(borrow)]
    service_config: Option<&'a RawValue>,
}

// === impl RouteConfigs ===

impl FromStr for RouteConfigs {
    type Err = InvalidRoutes;

    /// Parses `[{"name": …, "target": …, "serviceConfig": …}]`. An empty string is an empty list.
    fn from_str(text: &str) -> Result<Self, InvalidRoutes> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let routes: Vec<Json<'_>> = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| InvalidRoutes(error.to_string().trim_start_matches(".: ").to_owned()))?;
        json.end().map_err(|error| InvalidRoutes(error.to_string()))?;
        let mut names = HashSet::from([DEFAULT.to_owned()]);
        let parse = |(index, json): (usize, Json<'_>)| {
            let invalid = |field: &str, problem: &dyn std::fmt::Display| {
                InvalidRoutes(format!("[{index}].{field}: {problem}"))
            };
            if json.name.is_empty() {
                return Err(invalid("name", &"must not be empty; ?via= selects the route by it"));
            }
            if json.name == DEFAULT {
                return Err(invalid(
                    "name",
                    &"\"default\" is reserved for the route to GRPC_TARGET; choose another name",
                ));
            }
            if !names.insert(json.name.clone()) {
                return Err(invalid("name", &format_args!("{:?} is used by two routes", json.name)));
            }
            let target = json.target.as_deref().map(grpc_target).transpose();
            let config = json.service_config.map(|config| config.get().parse::<ServiceConfig>()).transpose();
            Ok(RouteConfig {
                name: json.name,
                target: target.map_err(|error| invalid("target", &error))?,
                service_config: config.map_err(|error| invalid("serviceConfig", &error))?,
            })
        };
        routes.into_iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use balanced_channel::{PickFirst, Policy};

    use super::*;

    fn sentence(text: &str) -> String {
        text.parse::<RouteConfigs>().unwrap_err().to_string()
    }

    #[test]
    fn omitted_fields_are_none() {
        let text = r#"[
            {"name": "one", "target": "ipv4:127.0.0.1:1", "serviceConfig": {"loadBalancingConfig": [{"pick_first": {}}]}},
            {"name": "two", "serviceConfig": null},
            {"name": "three", "target": "kubernetes:///grpc-svc:8000"}
        ]"#;
        let [one, two, three] = &text.parse::<RouteConfigs>().unwrap().0[..] else { panic!("not three") };
        assert_eq!(three.target.as_ref().unwrap().as_str(), "kubernetes:///grpc-svc:8000");
        assert_eq!((&*one.name, one.target.as_ref().unwrap().as_str()), ("one", "ipv4:127.0.0.1:1"));
        let config = ServiceConfig::default().policy(Policy::from(PickFirst::default()));
        assert_eq!(one.service_config, Some(config));
        assert_eq!(*two, RouteConfig { name: "two".to_owned(), target: None, service_config: None });
        for none in ["[]", "", " \n"] {
            assert_eq!(none.parse(), Ok(RouteConfigs::default()));
        }
    }

    #[test]
    fn error_names_the_field_and_its_path() {
        for (text, words) in [
            ("[", "EOF"),
            ("{}", "expected a sequence"),
            ("[] x", "trailing characters"),
            ("[5]", "[0]: invalid type: integer `5`"),
            (r#"[{"target": "a:1"}]"#, "[0]: missing field `name`"),
            (r#"[{"name": 5}]"#, "[0].name: invalid type: integer `5`"),
            (r#"[{"name": ""}]"#, "[0].name: must not be empty"),
            (r#"[{"name": "default"}]"#, "[0].name: \"default\" is reserved"),
            (r#"[{"name": "a"}, {"name": "b"}, {"name": "a"}]"#, "[2].name: \"a\" is used by two routes"),
            (r#"[{"name": "a", "serviceconfig": {}}]"#, "[0].serviceconfig: unknown field `serviceconfig`"),
            (
                r#"[{"name": "a", "target": "xds:///svc"}]"#,
                "[0].target: target \"xds:///svc\" has the unknown",
            ),
            (r#"[{"name": "a", "target": "https://svc"}]"#, "[0].target: TLS"),
            (
                r#"[{"name": "a", "target": "kubernetes:///svc"}]"#,
                "[0].target: target \"kubernetes:///svc\" names no port",
            ),
            (r#"[{"name": "a", "target": "kubernetes:///a.b.c:80"}]"#, "more than a service and a namespace"),
            (r#"[{"name": "a", "target": ["b:1"]}]"#, "[0].target: invalid type"),
            (
                r#"[{"name": "a", "serviceConfig": {"loadBalancingConfig": [{"dice": {}}]}}]"#,
                "[0].serviceConfig: the service config is invalid: loadBalancingConfig",
            ),
            (
                r#"[{"name": "a", "serviceConfig": {"methodConfig": [{"retryPolicy": {"maxAttempts": 1}}]}}]"#,
                "methodConfig[0].retryPolicy.maxAttempts",
            ),
            (r#"[{"name": "a", "serviceConfig": []}]"#, "[0].serviceConfig"),
        ] {
            let sentence = sentence(text);
            assert!(sentence.contains(words) && !sentence.contains('\n'), "{text}: {sentence}");
        }
    }
}
