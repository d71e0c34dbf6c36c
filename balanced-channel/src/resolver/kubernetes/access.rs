//! Access to the Kubernetes API: its address, the credentials, TLS, and TCP keepalive.

use std::{path::PathBuf, time::Duration};

use http::{HeaderValue, Request, Response, Uri, header::HOST};
use hyper::{body::Incoming, client::conn::http1::handshake};
use hyper_util::client::legacy::connect::HttpConnector;
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::task::spawn_blocking;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{
    error::{ApiError, RequestContext},
    kubeconfig::{describe_plugin_error, kubeconfig},
    proxy::without_proxy,
};

/// The time that a TCP connection to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP keepalive: the silence before the first probe, the time between probes, and their number. A watch only reads,
/// so without probes the loss of the server would go unnoticed until the watch ends.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_PROBES: u32 = 3;

/// The directory in a pod with the token of its service account, the CA of the API server, and the namespace.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The source of the API server's address and credentials.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// The configuration that kubectl uses: `KUBECONFIG`, `~/.kube/config`, or else the service account of the pod.
    #[default]
    Inferred,
    /// The current context of this kubeconfig file.
    File(PathBuf),
}

/// A client of the API server.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) server: String,
}

// === impl Access ===

impl Access {
    /// Reads the configuration again, in which credentials may have been rotated. Does not connect yet.
    pub(crate) async fn open(&self) -> Result<Session, ApiError> {
        let options = KubeConfigOptions::default();
        let config = match self {
            Self::Inferred => match from_kubeconfig(&options).await? {
                Ok(config) => config,
                Err(kubeconfig) => {
                    blocking(Config::incluster).await?.map_err(|pod| not_configured(&kubeconfig, &pod))?
                }
            },
            Self::File(path) => {
                let path = path.clone();
                let file = blocking(move || Kubeconfig::read_from(path)).await?;
                let file = file.map_err(|error| unknown(&error))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unknown(&error))?
            }
        };
        let config = without_proxy(config).map_err(ApiError::new)?;
        // Reads files, and may run the credential plugin of the kubeconfig.
        blocking(move || session(&config)).await?
    }
}

async fn from_kubeconfig(options: &KubeConfigOptions) -> Result<Result<Config, KubeconfigError>, ApiError> {
    Ok(match blocking(kubeconfig).await? {
        Ok(file) => Config::from_custom_kubeconfig(file, options).await,
        Err(error) => Err(error),
    })
}

fn session(config: &Config) -> Result<Session, ApiError> {
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let context = RequestContext { server: server.clone(), namespace: config.default_namespace.clone() };
    let unusable = |error: kube::Error| context.call_failed(&error);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    let tls = config.rustls_https_connector_with_connector(tcp).map_err(unusable)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(|error| {
            match describe_plugin_error(&error, config.auth_info.exec.as_ref()) {
                Some(problem) => ApiError::new(problem),
                None => unknown(&error),
            }
        })?)
        .layer(config.extra_headers_layer().map_err(unusable)?)
        .service(service_fn(move |request| exchange(tls.clone(), request)));
    Ok(Session { client: Client::new(service, config.default_namespace.trim()), server })
}

/// Sends a request over a new connection. Requests are minutes apart, and a watch occupies its connection, so a pool or
/// HTTP/2 would only add several hundred kilobytes to every program.
async fn exchange<C>(tls: C, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError>
where
    C: tower::Service<Uri, Error = BoxError>,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let server = request.uri().clone();
    let host = server.host().unwrap_or_default();
    let host = server.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    request.headers_mut().insert(HOST, HeaderValue::from_str(&host)?);
    *request.uri_mut() = server.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (mut requests, connection) = handshake(tls.oneshot(server).await?).await?;
    // The task ends with the response, or when the response is dropped. Errors reach the reader of the response.
    tokio::spawn(async { drop(connection.await) });
    Ok(requests.send_request(request).await?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    spawn_blocking(work)
        .await
        .map_err(|error| ApiError::new(format!("the Kubernetes configuration: {error}")))
}

/// Returns the error for a process with neither a usable kubeconfig nor the account of a pod.
fn not_configured(kubeconfig: &KubeconfigError, pod: &InClusterError) -> ApiError {
    match pod {
        InClusterError::ReadEnvironmentVariable(_) => ApiError::new(format!(
            "no configuration for the Kubernetes API was found: this is not a pod, as KUBERNETES_SERVICE_HOST is not set, and \
             there is no kubeconfig: {kubeconfig}"
        )),
        InClusterError::ReadDefaultNamespace(error) | InClusterError::ReadCertificateBundle(error) => {
            ApiError::new(format!(
                "this pod has no account for the Kubernetes API: {ACCOUNT} cannot be read ({error}); set \
                 serviceAccountName and automountServiceAccountToken: true in the pod"
            ))
        }
        other => unknown(other),
    }
}

fn unknown(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(format!("no configuration for the Kubernetes API was found: {error}"))
}
