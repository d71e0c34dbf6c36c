//! The API server's responses to lists and watches, and its errors.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::{select, time::sleep};

use super::{
    Shared, State,
    behaviour::Behaviour,
    object,
    objects::{Selector, status},
    received::{ObjectPath, ReceivedRequest},
    watch::Watch,
};

/// The account in error messages.
const USER: &str = "system:serviceaccount:default:helloserve";

/// Responds to one request.
pub(super) async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let request = ReceivedRequest::read(request).await;
    shared.change(|state| state.requests.push(request.clone()));
    let mut changes = shared.changes.subscribe();
    loop {
        changes.mark_unchanged();
        let behaviour = shared.state().behaviour.clone();
        match behaviour {
            Behaviour::Silent => drop(changes.changed().await),
            Behaviour::Slow(pause) => {
                select! {
                    () = sleep(pause) => break,
                    _ = changes.changed() => {}
                }
            }
            _ => break,
        }
    }
    let selector = Selector::parse(request.value("labelSelector").unwrap_or_default());
    if let Some(error) = error(&shared.state(), &request) {
        return error;
    }
    if let Some(path) = ObjectPath::parse(&request.path) {
        let (code, object) = shared.change(|state| object::respond(&mut state.objects, &request, &path));
        return head(StatusCode::from_u16(code).unwrap()).body(format!("{object}\n").into()).unwrap();
    }
    let state = shared.state();
    if !request.watch {
        return list(&state, &request, &selector);
    }
    let version = request
        .value("resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(state.objects.version);
    drop(state);
    let seconds = request.value("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(1800);
    let bookmarks = request.value("allowWatchBookmarks") == Some("true");
    let watch = Watch::new(shared, request.path, selector, version, bookmarks, Duration::from_secs(seconds));
    head(StatusCode::OK).body(Body::from_stream(watch.lines())).unwrap()
}

fn list(state: &State, request: &ReceivedRequest, selector: &Selector) -> Response<Body> {
    let objects = state.objects.list(&request.path, selector);
    // As from a real server, the items of a list have no kind and apiVersion.
    let items = objects.into_iter().map(|object| {
        let mut item = object.clone();
        let fields = item.as_object_mut().unwrap();
        fields.retain(|name, _| name != "kind" && name != "apiVersion");
        item
    });
    let (version, items) = (state.objects.version, Value::from_iter(items));
    let list = format!(
        "{{\"kind\":\"EndpointSliceList\",\"apiVersion\":\"discovery.k8s.io/v1\",\
         \"metadata\":{{\"resourceVersion\":\"{version}\"}},\"items\":{items}}}\n"
    );
    head(StatusCode::OK).body(list.into()).unwrap()
}

/// Returns the error that the token or the behaviour requires, if any.
fn error(state: &State, request: &ReceivedRequest) -> Option<Response<Body>> {
    if state.token.is_some() && state.token != request.token {
        return Some(error_response(401, "Unauthorized", "Unauthorized", None));
    }
    let verb = if request.watch { "watch" } else { "list" };
    match &state.behaviour {
        Behaviour::Denied(verb, resource) if request.verb() == *verb && request.resource() == *resource => {
            let message =
                format!("{resource} is forbidden: User \"{USER}\" cannot {verb} resource \"{resource}\"");
            Some(error_response(403, "Forbidden", &message, None))
        }
        Behaviour::WatchForbidden if !request.watch => None,
        Behaviour::Forbidden | Behaviour::WatchForbidden => {
            let message = format!(
                "endpointslices.discovery.k8s.io is forbidden: User \"{USER}\" cannot {verb} resource \
                 \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"default\""
            );
            Some(error_response(403, "Forbidden", &message, None))
        }
        Behaviour::Gone if request.watch => {
            Some(error_response(410, "Expired", "too old resource version: 1 (1000)", None))
        }
        Behaviour::ErrorStatus(code, retry_after) => {
            Some(error_response(*code, "InternalError", "etcdserver: no leader", *retry_after))
        }
        Behaviour::WebPage => Some(Response::new("<html>Welcome</html>\n".into())),
        _ => None,
    }
}

fn error_response(code: u16, reason: &str, message: &str, retry_after: Option<u32>) -> Response<Body> {
    let mut head = head(StatusCode::from_u16(code).unwrap());
    if let Some(retry_after) = retry_after {
        head = head.header(header::RETRY_AFTER, retry_after);
    }
    head.body(format!("{}\n", status(code, reason, message)).into()).unwrap()
}

fn head(status: StatusCode) -> http::response::Builder {
    Response::builder()
        .status(status)
        .header("audit-id", "5a1f4f0e-3b3f-4b43-8f5e-0d6d5b2f1c7a")
        .header(header::CACHE_CONTROL, "no-cache, private")
        .header(header::CONTENT_TYPE, "application/json")
}
