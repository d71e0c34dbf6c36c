//! A Kubernetes API server for clients that list and watch collections, and get, patch or delete single objects. Paths, JSON,
//! chunks and errors are like those of a real server ([API concepts]). Tests make it fail as real ones do.
//!
//! [API concepts]: https://kubernetes.io/docs/reference/using-api/api-concepts/

mod behaviour;
mod object;
mod objects;
mod received;
mod response;
mod watch;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch as latest},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use self::objects::{Objects, Selector};
pub use self::{behaviour::Behaviour, objects::Slice, received::ReceivedRequest, watch::WatchAction};
use super::bounded;

/// A server on a loopback port. Dropping it stops the server and breaks its connections.
#[derive(Debug)]
pub struct ApiServer {
    /// The address on which it listens, also after a [`stop`](Self::stop) and [`restart`](Self::restart).
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts changes of the state.
    changes: latest::Sender<u64>,
    /// Sends the actions of [`ApiServer::control_watches`] to every watch.
    watch_actions: broadcast::Sender<WatchAction>,
}

#[derive(Debug, Default)]
struct State {
    objects: Objects,
    behaviour: Behaviour,
    /// The only valid token; with `None`, requests with any token and without one are accepted.
    token: Option<String>,
    requests: Vec<ReceivedRequest>,
    /// The number of open watches.
    watches: usize,
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts a server without objects.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changes: latest::Sender::new(0),
            watch_actions: broadcast::Sender::new(16),
        });
        let serving = Some(tokio::spawn(serve(listener, shared.clone())));
        Self { address, shared, serving }
    }

    /// Returns a kubeconfig for this server with the namespace `default`.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        kubeconfig(&format!("{{server: 'http://{}'}}", self.address), token)
    }

    /// Creates or replaces an object, whose metadata has its name and labels. `collection` is a path such as
    /// `/apis/discovery.k8s.io/v1/namespaces/default/endpointslices`.
    pub fn put(&self, collection: &str, object: Value) {
        self.shared.change(|state| state.objects.put(collection, object));
    }

    /// Creates or replaces an EndpointSlice in the namespace `default`.
    pub fn put_slice(&self, slice: &Slice) {
        self.put(Slice::COLLECTION, slice.json());
    }

    /// Returns an object, if it exists.
    #[must_use]
    pub fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.shared.state().objects.get(collection, name).cloned()
    }

    /// Returns the objects of a collection.
    #[must_use]
    pub fn all(&self, collection: &str) -> Vec<Value> {
        self.shared.state().objects.list(collection, &Selector::parse("")).into_iter().cloned().collect()
    }

    /// Deletes an object.
    pub fn delete(&self, collection: &str, name: &str) {
        self.shared.change(|state| state.objects.delete(collection, name));
    }

    /// Deletes an EndpointSlice in the namespace `default`.
    pub fn delete_slice(&self, name: &str) {
        self.delete(Slice::COLLECTION, name);
    }

    /// Forgets the history of changes, as etcd's compaction does every few minutes: a watch that starts at an earlier version
    /// gets an error.
    pub fn compact(&self) {
        self.shared.change(|state| state.objects.compact());
    }

    /// Changes the responses to all requests, including those in flight.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.change(|state| state.behaviour = behaviour);
    }

    /// Rejects requests with another token or without one.
    pub fn require_token(&self, token: &str) {
        self.shared.change(|state| state.token = Some(token.to_owned()));
    }

    /// Applies an action to every open watch.
    pub fn control_watches(&self, action: WatchAction) {
        // Fails if no watch is open.
        drop(self.shared.watch_actions.send(action));
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.state().requests.clone()
    }

    /// Waits for `count` further requests that are watches (or with `watch` false, that are not), and returns the last.
    ///
    /// # Panics
    ///
    /// If they have not come after a minute.
    pub async fn wait_for_requests(&self, count: usize, watch: bool) -> ReceivedRequest {
        let before = self.requests().len();
        let mut changes = self.shared.changes.subscribe();
        let last = async {
            loop {
                let requests = self.requests();
                let mut new = requests[before..].iter().filter(|request| request.watch == watch);
                if let Some(last) = new.nth(count - 1) {
                    return last.clone();
                }
                changes.changed().await.unwrap();
            }
        };
        bounded(last).await
    }

    /// Waits until exactly `count` watches are open.
    ///
    /// # Panics
    ///
    /// If that takes longer than a minute.
    pub async fn wait_for_watches(&self, count: usize) {
        let mut changes = self.shared.changes.subscribe();
        bounded(changes.wait_for(|_| self.shared.state().watches == count)).await.unwrap();
    }

    /// Stops like a killed process: breaks every connection and refuses new ones.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            drop(serving.await);
        }
    }

    /// Starts again on the same port with the same objects.
    ///
    /// # Panics
    ///
    /// If another program has bound the port.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listen = async {
            loop {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => return listener,
                    // A broken connection may hold the port for a short time.
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        self.serving = Some(tokio::spawn(serve(bounded(listen).await, self.shared.clone())));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Returns a kubeconfig for a cluster, given in YAML, and a token.
#[must_use]
pub fn kubeconfig(cluster: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {cluster}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test, namespace: default}}}}]\n\
         users: [{{name: test, user: {{token: '{token}'}}}}]\n"
    )
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
        result
    }
}

/// Serves until the future is dropped, which breaks every connection.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A real server sends each event at once.
        stream.set_nodelay(true).unwrap();
        let shared = shared.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, std::convert::Infallible>(response::respond(shared, request).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}
