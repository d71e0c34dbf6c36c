//! Requests about one object: it is read, patched or deleted.

use serde_json::{Value, json};

use super::{
    objects::{Objects, status},
    received::{Place, ReceivedRequest},
};

/// The kind of patch that is understood (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The status and the body of the answer.
pub(super) fn one(objects: &mut Objects, asked: &ReceivedRequest, place: &Place<'_>) -> (u16, Value) {
    let Place { collection, name, subresource } = *place;
    let Some(before) = objects.get(collection, name).cloned() else {
        return (404, status(404, "NotFound", &format!("{} {name:?} not found", place.plural())));
    };
    match (asked.method.as_str(), subresource) {
        ("GET", None) => (200, before),
        ("DELETE", None) => {
            objects.delete(collection, name);
            (200, before)
        }
        ("PATCH", None | Some("scale")) if asked.content_type.as_deref() == Some(MERGE_PATCH) => {
            let mut after = before.clone();
            merge(&mut after, &serde_json::from_str(&asked.body).unwrap());
            if after["spec"] != before["spec"] {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
                after["metadata"]["generation"] = (generation + 1).into();
            }
            objects.put(collection, after.clone());
            let scale = json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": name},
                "spec": {"replicas": after["spec"]["replicas"]}, "status": {"replicas": 0}
            });
            (200, if subresource.is_some() { scale } else { after })
        }
        ("PATCH", _) => (415, status(415, "UnsupportedMediaType", "this kind of body is not known here")),
        (method, _) => (405, status(405, "MethodNotAllowed", &format!("{method} is not known here"))),
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        match (value, into.as_object_mut()) {
            (Value::Null, Some(object)) => drop(object.remove(name)),
            _ => merge(&mut into[name], value),
        }
    }
}
