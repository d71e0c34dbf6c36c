//! Requests for one object: get, patch and delete.

use serde_json::{Value, json};

use super::{
    objects::{Objects, status},
    received::{ObjectPath, ReceivedRequest},
};

/// The only supported kind of patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Applies a request. Returns the status and the body of the response.
pub(super) fn respond(
    objects: &mut Objects,
    request: &ReceivedRequest,
    path: &ObjectPath<'_>,
) -> (u16, Value) {
    let ObjectPath { collection, name, subresource } = *path;
    let Some(before) = objects.get(collection, name).cloned() else {
        return (404, status(404, "NotFound", &format!("{} {name:?} not found", path.plural())));
    };
    match (request.method.as_str(), subresource) {
        ("GET", None) => (200, before),
        ("DELETE", None) => {
            objects.delete(collection, name);
            (200, before)
        }
        ("PATCH", None | Some("scale")) if request.content_type.as_deref() == Some(MERGE_PATCH) => {
            let mut after = before.clone();
            merge(&mut after, &serde_json::from_str(&request.body).unwrap());
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
        ("PATCH", _) => {
            (415, status(415, "UnsupportedMediaType", "the content type of the patch is not supported"))
        }
        (method, _) => (405, status(405, "MethodNotAllowed", &format!("{method} is not supported"))),
    }
}

/// Applies a JSON merge patch.
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
