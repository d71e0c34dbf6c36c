//! A Kubernetes API server, as far as a client can tell that lists, watches, and gets, patches or deletes one: the
//! paths, the JSON, the chunks and the refusals are a real one's ([API concepts]), and a test makes it fail in every way
//! that real ones do.
//!
//! [API concepts]: https://kubernetes.io/docs/reference/using-api/api-concepts/

mod answer;
mod behaviour;
mod objects;
mod one;
mod received;
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
pub use self::{behaviour::Behaviour, objects::Slice, received::ReceivedRequest, watch::Order};
use super::bounded;

/// A server on a port of loopback. Dropped, it is gone with its connections.
#[derive(Debug)]
pub struct ApiServer {
    /// The address on which it listens, with or without a [`stop`](Self::stop).
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts changes of the state.
    changes: latest::Sender<u64>,
    /// The orders to every watch.
    orders: broadcast::Sender<Order>,
}

#[derive(Debug, Default)]
struct State {
    objects: Objects,
    behaviour: Behaviour,
    /// The token that is taken; none: any, or none at all.
    token: Option<String>,
    asked: Vec<ReceivedRequest>,
    /// The number of watches that are open.
    watches: usize,
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts with no objects.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changes: latest::Sender::new(0),
            orders: broadcast::Sender::new(16),
        });
        let serving = Some(tokio::spawn(serve(listener, shared.clone())));
        Self { address, shared, serving }
    }

    /// A kubeconfig that leads here, with the account's own namespace `default`.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        kubeconfig(&format!("{{server: 'http://{}'}}", self.address), token)
    }

    /// Creates or replaces an object, which has its name and labels in its metadata; `collection` is a path such as
    /// `/apis/discovery.k8s.io/v1/namespaces/default/endpointslices`.
    pub fn put(&self, collection: &str, object: Value) {
        self.shared.change(|state| state.objects.put(collection, object));
    }

    /// Creates or replaces an EndpointSlice in the namespace `default`.
    pub fn put_slice(&self, slice: &Slice) {
        self.put(Slice::COLLECTION, slice.json());
    }

    /// An object as it is now.
    #[must_use]
    pub fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.shared.state().objects.get(collection, name).cloned()
    }

    /// The objects of a collection as they are now.
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

    /// Forgets how it came to be as it is, as etcd does every few minutes: a watch that begins before now is refused.
    pub fn compact(&self) {
        self.shared.change(|state| state.objects.compact());
    }

    /// Answers in this way from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.change(|state| state.behaviour = behaviour);
    }

    /// Takes only this token from now on.
    pub fn take_token(&self, token: &str) {
        self.shared.change(|state| state.token = Some(token.to_owned()));
    }

    /// Tells every watch to do this.
    pub fn order(&self, order: Order) {
        // Nobody may be watching.
        drop(self.shared.orders.send(order));
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<ReceivedRequest> {
        self.shared.state().asked.clone()
    }

    /// Waits until `count` more requests have come that are watches, or not, and returns the last.
    ///
    /// # Panics
    ///
    /// When they have not come after a minute.
    pub async fn asked_again(&self, count: usize, watch: bool) -> ReceivedRequest {
        let before = self.asked().len();
        let mut changes = self.shared.changes.subscribe();
        let ask = async {
            loop {
                let asked = self.asked();
                let mut new = asked[before..].iter().filter(|asked| asked.watch == watch);
                if let Some(last) = new.nth(count - 1) {
                    return last.clone();
                }
                changes.changed().await.unwrap();
            }
        };
        bounded(ask).await
    }

    /// Waits until so many watches are open.
    ///
    /// # Panics
    ///
    /// When it is so after a minute.
    pub async fn watched(&self, count: usize) {
        let mut changes = self.shared.changes.subscribe();
        bounded(changes.wait_for(|_| self.shared.state().watches == count)).await.unwrap();
    }

    /// Stops as a process does that is killed: every connection breaks, and new ones are refused.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            drop(serving.await);
        }
    }

    /// Starts again, at the same port and with the same objects.
    ///
    /// # Panics
    ///
    /// When somebody else took the port.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listen = async {
            loop {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => return listener,
                    // A connection that broke may hold the port for a moment.
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

/// A kubeconfig for a cluster, in YAML, and a token.
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

/// Serves until it is dropped, which breaks every connection.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A real one writes each event at once.
        stream.set_nodelay(true).unwrap();
        let shared = shared.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, std::convert::Infallible>(answer::answer(shared, request).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}
