//! The parts of a result document that are compared.

use serde::Deserialize;
use serde_json::Value;

/// Two documents that cannot be compared, with the cause as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CannotCompare(pub String);

/// The part of a load's document that is compared.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Load {
    pub(super) target: String,
    pub(super) calls: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) calls_per_second: f64,
    pub(super) schedule: Option<Schedule>,
    pub(super) latency: Latency,
    pub(super) balance: Balance,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Schedule {
    pub(super) unsent: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Balance {
    pub(super) pods: u64,
    pub(super) skew: Option<f64>,
    pub(super) p_value: Option<f64>,
}

/// The loads in a document, each with its name.
pub struct Loads(pub(super) Vec<(String, Load)>);

// === impl Loads ===

impl Loads {
    /// Reads the document of a `load`, a `compare` or a `drill`.
    ///
    /// # Errors
    ///
    /// Fails if the text is not such a document.
    pub fn read(text: &str) -> Result<Self, CannotCompare> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| CannotCompare(format!("it is not JSON: {error}")))?;
        let load = |value: &Value| {
            Load::deserialize(value)
                .map_err(|error| CannotCompare(format!("it is not a whole result: {error}")))
        };
        let alone = |load: Load| Self(vec![(load.target.clone(), load)]);
        match document["schema"].as_str() {
            Some("kubetester.load/1") => load(&document).map(alone),
            Some("kubetester.drill/1") => load(&document["load"]).map(alone),
            Some("kubetester.compare/1") => {
                let results = document["results"].as_array().cloned().unwrap_or_default();
                let named = |result: &Value| {
                    let name = result["name"].as_str().unwrap_or_default().to_owned();
                    load(&result["load"]).map(|load| (name, load))
                };
                results.iter().map(named).collect::<Result<_, _>>().map(Self)
            }
            Some(schema) => Err(CannotCompare(format!("its schema is {schema}, which has no loads"))),
            None => Err(CannotCompare("it has no schema: it is not what --json prints".to_owned())),
        }
    }
}
