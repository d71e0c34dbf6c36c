//! The API server's responses to lists and watches, and its refusals.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::{select, time::sleep};

use super::{
    Shared, State,
    behaviour::Behaviour,
    objects::{Selector, status},
    one::one,
    received::{Place, ReceivedRequest},
    watch::Watch,
};

/// The account in the server's refusals.
const USER: &str = "system:serviceaccount:default:helloserve";

/// Answers one request.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let asked = ReceivedRequest::of(request).await;
    shared.change(|state| state.asked.push(asked.clone()));
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
    let selector = Selector::parse(asked.value("labelSelector").unwrap_or_default());
    if let Some(refusal) = refusal(&shared.state(), &asked) {
        return refusal;
    }
    if let Some(place) = Place::of(&asked.path) {
        let (code, object) = shared.change(|state| one(&mut state.objects, &asked, &place));
        return head(StatusCode::from_u16(code).unwrap()).body(format!("{object}\n").into()).unwrap();
    }
    let state = shared.state();
    if !asked.watch {
        return list(&state, &asked, &selector);
    }
    let version = asked
        .value("resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(state.objects.version);
    drop(state);
    let seconds = asked.value("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(1800);
    let bookmarks = asked.value("allowWatchBookmarks") == Some("true");
    let watch = Watch::new(shared, asked.path, selector, version, bookmarks, Duration::from_secs(seconds));
    head(StatusCode::OK).body(Body::from_stream(watch.lines())).unwrap()
}

fn list(state: &State, asked: &ReceivedRequest, selector: &Selector) -> Response<Body> {
    let objects = state.objects.list(&asked.path, selector);
    // A real one says what the items are once, for all of them.
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

fn refusal(state: &State, asked: &ReceivedRequest) -> Option<Response<Body>> {
    if state.token.is_some() && state.token != asked.token {
        return Some(refuse(401, "Unauthorized", "Unauthorized", None));
    }
    let verb = if asked.watch { "watch" } else { "list" };
    match &state.behaviour {
        Behaviour::Denied(verb, resource) if asked.verb() == *verb && asked.resource() == *resource => {
            let message =
                format!("{resource} is forbidden: User \"{USER}\" cannot {verb} resource \"{resource}\"");
            Some(refuse(403, "Forbidden", &message, None))
        }
        Behaviour::WatchForbidden if !asked.watch => None,
        Behaviour::Forbidden | Behaviour::WatchForbidden => {
            let message = format!(
                "endpointslices.discovery.k8s.io is forbidden: User \"{USER}\" cannot {verb} resource \
                 \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"default\""
            );
            Some(refuse(403, "Forbidden", &message, None))
        }
        Behaviour::Gone if asked.watch => {
            Some(refuse(410, "Expired", "too old resource version: 1 (1000)", None))
        }
        Behaviour::Refused(code, after) => {
            Some(refuse(*code, "InternalError", "etcdserver: no leader", *after))
        }
        Behaviour::WebPage => Some(Response::new("<html>Welcome</html>\n".into())),
        _ => None,
    }
}

fn refuse(code: u16, reason: &str, message: &str, after: Option<u32>) -> Response<Body> {
    let mut head = head(StatusCode::from_u16(code).unwrap());
    if let Some(after) = after {
        head = head.header(header::RETRY_AFTER, after);
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
