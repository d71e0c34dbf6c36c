//! The objects of an API server and the history of their changes.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value, json};

/// Objects by collection and name, with one resource version for all of them, as etcd has it.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) version: u64,
    /// The version before which the history is forgotten.
    compacted: u64,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<Change>,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) collection: String,
    /// ADDED, MODIFIED or DELETED.
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

/// A label selector: `name=value` pairs.
#[derive(Clone, Debug)]
pub(super) struct Selector(Vec<(String, String)>);

/// An EndpointSlice as Kubernetes' controller writes it.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The name of the object.
    pub name: String,
    /// The service whose endpoints it lists.
    pub service: String,
    /// IPv4, IPv6 or FQDN.
    pub address_type: &'static str,
    /// The endpoints in the API's JSON. A real server writes null for none.
    pub endpoints: Value,
    /// The ports in the API's JSON.
    pub ports: Value,
}

// === impl Objects ===

impl Default for Objects {
    fn default() -> Self {
        Self { version: 1000, compacted: 0, objects: BTreeMap::new(), history: Vec::new() }
    }
}

impl Objects {
    pub(super) fn put(&mut self, collection: &str, mut object: Value) {
        static UID: AtomicU64 = AtomicU64::new(1);
        self.version += 1;
        let key = (collection.to_owned(), object["metadata"]["name"].as_str().unwrap().to_owned());
        let before = self.objects.get(&key);
        let uid = before.map_or_else(
            || format!("7d3c2f6e-0000-4000-8000-{:012}", UID.fetch_add(1, Ordering::Relaxed)).into(),
            |before| before["metadata"]["uid"].clone(),
        );
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let metadata = &mut object["metadata"];
        metadata["uid"] = uid;
        metadata["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key, object.clone());
        self.history.push(Change { version: self.version, collection: collection.to_owned(), kind, object });
    }

    pub(super) fn delete(&mut self, collection: &str, name: &str) {
        let key = (collection.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).expect("a deleted object exists");
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.history.push(Change { version: self.version, collection: key.0, kind: "DELETED", object });
    }

    pub(super) fn compact(&mut self) {
        // Compacts up to a new version, so that a watch must be at the current version to continue.
        self.version += 1;
        self.compacted = self.version;
        self.history.clear();
    }

    pub(super) fn get(&self, collection: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(collection.to_owned(), name.to_owned()))
    }

    pub(super) fn list(&self, collection: &str, selector: &Selector) -> Vec<&Value> {
        let in_collection = self.objects.iter().filter(|((of, _), _)| of == collection);
        in_collection.map(|(_, object)| object).filter(|object| selector.matches(object)).collect()
    }

    /// Returns the changes since a version, or `None` if they are forgotten.
    pub(super) fn since(&self, version: u64, collection: &str, selector: &Selector) -> Option<Vec<Change>> {
        if version < self.compacted {
            return None;
        }
        let new = |change: &&Change| {
            change.version > version && change.collection == collection && selector.matches(&change.object)
        };
        Some(self.history.iter().filter(new).cloned().collect())
    }
}

// === impl Selector ===

impl Selector {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(name, value)| object["metadata"]["labels"][name] == *value)
    }
}

// === impl Slice ===

impl Slice {
    /// The path of the EndpointSlices in the namespace `default`.
    pub const COLLECTION: &'static str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

    /// Creates a slice of IPv4 endpoints with one port named `grpc`.
    #[must_use]
    pub fn new(name: &str, service: &str, port: u16, endpoints: impl IntoIterator<Item = Value>) -> Self {
        Self {
            name: name.to_owned(),
            service: service.to_owned(),
            address_type: "IPv4",
            endpoints: endpoints.into_iter().collect(),
            ports: json!([{"name": "grpc", "port": port, "protocol": "TCP"}]),
        }
    }

    /// Returns the endpoint of a ready pod without a zone.
    #[must_use]
    pub fn pod(name: &str, address: &str) -> Value {
        json!({
            "addresses": [address],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": name, "uid": "0b8c9b6e-5d0c-4a0e-9a47-9a1d3f0f6c11"
            },
            "nodeName": "node-1"
        })
    }

    /// Returns the endpoint of a ready pod in a zone.
    #[must_use]
    pub fn pod_in(name: &str, address: &str, zone: &str) -> Value {
        let mut pod = Self::pod(name, address);
        pod["zone"] = zone.into();
        pod
    }

    /// Returns the endpoint of a terminating pod that still serves.
    #[must_use]
    pub fn draining(name: &str, address: &str) -> Value {
        let mut pod = Self::pod(name, address);
        pod["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
        pod
    }

    /// Returns the object in JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { name, service, address_type, endpoints, ports } = self;
        let mut labels = Map::new();
        labels.insert(
            "endpointslice.kubernetes.io/managed-by".into(),
            "endpointslice-controller.k8s.io".into(),
        );
        labels.insert("kubernetes.io/service-name".into(), service.as_str().into());
        labels.insert("service.kubernetes.io/headless".into(), "".into());
        json!({
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": name,
                "generateName": format!("{service}-"),
                "namespace": "default",
                "generation": 1,
                "creationTimestamp": "2026-11-20T10:00:00Z",
                "labels": labels,
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-20T10:00:00Z"},
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "name": service,
                    "uid": "1d1f5d1e-6a7b-4d8e-8c9d-2f3a4b5c6d7e", "controller": true, "blockOwnerDeletion": true
                }],
                "managedFields": [{
                    "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "discovery.k8s.io/v1",
                    "time": "2026-11-20T10:00:00Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:addressType": {}, "f:endpoints": {}, "f:ports": {}}
                }]
            },
            "addressType": address_type,
            "endpoints": endpoints,
            "ports": ports
        })
    }
}

/// Returns the API's `Status` object for an error.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code
    })
}
