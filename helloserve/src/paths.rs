//! What the gateway answers on its port: two paths, each a thin handler from request to backend to answer, and
//! the list of routes.

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body::Body as _;
use serde::Serialize;
use service::{Problem, request_id::RequestId};

use crate::{
    deadline::time_allowed, gateway::Gateway, greeting::Greeting, propagation::outgoing, refusal::Refusal,
    routes::RouteStatus,
};

/// A request as axum hands it over.
type Request = http::Request<axum::body::Body>;

/// What a request asks of a backend.
struct Call<'a> {
    name: Cow<'a, str>,
    via: Option<Cow<'a, str>>,
    headers: HeaderMap,
    allowed: Duration,
}

/// What `GET /routes` says.
#[derive(Serialize)]
struct Listed<'a> {
    routes: Vec<RouteStatus<'a>>,
}

/// The paths of the gateway.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/hellogrpc", get(hellogrpc))
        .route("/hellohttp", get(hellohttp))
        .route("/routes", get(routes))
        .with_state(gateway)
}

/// `GET /hellogrpc?name=&via=`: what the gRPC backend says.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its request twice")]
fn hellogrpc(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
) -> impl Future<Output = Result<Response, Problem>> {
    async move {
        let _admitted = gateway.admission.enter().map_err(Refusal::Overloaded)?;
        let Call { name, via, headers, allowed } = Call::read(&mut request, gateway.upstream_timeout)?;
        let route = gateway.routes.find(via.as_deref()).map_err(Refusal::Route)?;
        let said = route.greet(name.as_ref().to_owned(), headers, allowed).await.map_err(Refusal::Backend)?;
        Ok(json(gateway.answers.around_introduction(&name, &said)))
    }
}

/// `GET /hellohttp?name=`: what the HTTP backend says.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its request twice")]
fn hellohttp(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
) -> impl Future<Output = Result<Response, Problem>> {
    async move {
        let _admitted = gateway.admission.enter().map_err(Refusal::Overloaded)?;
        let Call { name, headers, allowed, .. } = Call::read(&mut request, gateway.upstream_timeout)?;
        let said = gateway.http.greet(&name, &headers, allowed).await.map_err(Refusal::Backend)?;
        let answer = gateway.answers.around_object(&name, &said).map_err(|error| {
            Refusal::Backend(gateway.http.failed(format_args!("answered something that {error}")))
        })?;
        Ok(json(answer))
    }
}

/// `GET /routes`: the ways to gRPC backends that `?via=` knows, and how each stands.
async fn routes(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    let listed = serde_json::to_vec_pretty(&Listed { routes: gateway.routes.status() });
    let listed =
        listed.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(json(listed.into()))
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Reads it, with `limit` as the longest it may take. The request's headers are needed no longer, and given back.
    fn read(request: &'a mut Request, limit: Duration) -> Result<Self, Refusal> {
        if !request.body().is_end_stream() {
            return Err(Refusal::Body);
        }
        let headers = mem::take(request.headers_mut());
        let Greeting { name, via } =
            Greeting::from_query(request.uri().query().unwrap_or_default()).map_err(Refusal::Query)?;
        let allowed = time_allowed(&headers, limit).map_err(Refusal::Deadline)?;
        let id = request.extensions().get::<RequestId>();
        Ok(Self { name, via, headers: outgoing(&headers, id.map(RequestId::header)), allowed })
    }
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
