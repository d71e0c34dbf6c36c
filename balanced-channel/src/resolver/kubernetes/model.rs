//! EndpointSlices in the JSON of the API server. The types have only the fields of [discovery.k8s.io/v1] that the
//! resolver uses; the parser skips all others.
//!
//! [discovery.k8s.io/v1]: https://kubernetes.io/docs/reference/kubernetes-api/discovery/endpoint-slice-v1/

use serde::{Deserialize, Deserializer};

/// The response to a list request.
#[derive(Debug, Deserialize)]
pub(crate) struct SliceList {
    pub(crate) metadata: Version,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) items: Vec<Slice>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub(crate) enum WatchEvent {
    Added(Slice),
    Modified(Slice),
    Deleted(Slice),
    /// All changes up to this version have been sent.
    Bookmark(Bookmark),
    Error(ApiStatus),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bookmark {
    pub(crate) metadata: Version,
}

/// A position in the history of the collection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) resource_version: String,
}

/// The API server's description of a failure.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ApiStatus {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) message: String,
}

/// A part of a service's endpoints: those of one address family that have the same ports.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slice {
    pub(crate) metadata: Metadata,
    /// IPv4, IPv6 or FQDN.
    pub(crate) address_type: String,
    // Go writes a list without elements as null.
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) endpoints: Vec<SliceEndpoint>,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) ports: Vec<SlicePort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) resource_version: String,
}

/// An endpoint, usually a pod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SliceEndpoint {
    /// The addresses. All belong to the same endpoint, so only the first is used.
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) addresses: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) conditions: Conditions,
    pub(crate) target_ref: Option<Reference>,
    pub(crate) zone: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) hints: Hints,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hints {
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) for_zones: Vec<ForZone>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ForZone {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SlicePort {
    /// The name; empty if the service has one port without a name.
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) name: String,
    pub(crate) protocol: Option<String>,
    /// The port number; `None` means any.
    pub(crate) port: Option<u16>,
}

// === impl Conditions ===

impl Conditions {
    /// Returns whether the endpoint is ready. Missing conditions count as ready, serving and not terminating.
    pub(crate) fn ready(self) -> bool {
        self.ready.unwrap_or(true)
    }

    pub(crate) fn serving(self) -> bool {
        self.serving.unwrap_or_else(|| self.ready())
    }

    pub(crate) fn terminating(self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

/// Reads null as the default value.
fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(json: D) -> Result<T, D::Error> {
    Option::deserialize(json).map(Option::unwrap_or_default)
}
