//! Servers for load tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    routing::get,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

/// A server that answers in the name of many pods and counts the answers of each.
#[derive(Clone)]
pub(super) struct Draws(Arc<Mutex<Drawn>>);

struct Drawn {
    random: fastrand::Rng,
    /// The pods and their weights, in percent.
    weights: Vec<(&'static str, u32)>,
    /// The error rate, in percent.
    errors: u32,
    counts: BTreeMap<&'static str, (u64, u64)>,
}

/// A server that records the path of each call.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<Mutex<String>>);

/// A server that stalls once.
#[derive(Clone)]
struct Stalls {
    begin: Instant,
    end: Instant,
}

impl Draws {
    pub(super) fn new(weights: &[(&'static str, u32)], errors: u32) -> Self {
        let random = fastrand::Rng::with_seed(42);
        Self(Arc::new(Mutex::new(Drawn {
            random,
            weights: weights.to_vec(),
            errors,
            counts: BTreeMap::new(),
        })))
    }

    pub(super) async fn url(&self) -> String {
        let router = Router::new().route("/", get(|State(this): State<Self>| async move { this.draw() }));
        let address = serve(router.with_state(self.clone())).await;
        format!("http://{address}/")
    }

    /// Returns the numbers of successful and failed calls of each pod.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.0.lock().unwrap().counts.clone()
    }

    fn draw(&self) -> (StatusCode, [(&'static str, &'static str); 1], String) {
        let mut drawn = self.0.lock().unwrap();
        let mut draw = drawn.random.u32(..100);
        let mut pod = "";
        for (name, weight) in &drawn.weights {
            pod = name;
            if draw < *weight {
                break;
            }
            draw -= weight;
        }
        // The tool detects the place of the pod's name with the first success. Errors before it would have no name.
        let first = drawn.counts.values().map(|(answered, refused)| answered + refused).sum::<u64>() < 8;
        let failed = drawn.random.u32(..100) < drawn.errors && (!first || drawn.errors == 100);
        let (answered, refused) = drawn.counts.entry(pod).or_default();
        let status = if failed {
            *refused += 1;
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            *answered += 1;
            StatusCode::OK
        };
        (status, [("x-pod", pod)], format!("{{\"hostname\":\"{pod}\"}}"))
    }
}

impl Diary {
    pub(super) async fn address(&self) -> SocketAddr {
        let write = |State(this): State<Self>, uri: Uri| async move {
            this.0.lock().unwrap().push_str(&uri.path()[1..]);
            format!("{{\"hostname\":\"{}\"}}", uri.path())
        };
        serve(Router::new().fallback(write).with_state(self.clone())).await
    }

    /// Returns the paths in the order of the calls, without their slashes.
    pub(super) fn read(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// Starts a server that stalls for `length` once `after` has passed.
pub(super) async fn stalling(after: Duration, length: Duration) -> String {
    let begin = Instant::now() + after;
    let answer = |State(Stalls { begin, end }): State<Stalls>| async move {
        if (begin..end).contains(&Instant::now()) {
            sleep_until(end).await;
        }
        "{\"hostname\":\"only\"}"
    };
    let router = Router::new().route("/", get(answer)).with_state(Stalls { begin, end: begin + length });
    format!("http://{}/", serve(router).await)
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Starts a server that reads a request, sends `words` and closes the connection.
pub(super) async fn saying(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
    })
    .await
}

/// Starts a server that accepts connections and never sends anything.
pub(super) async fn silent() -> SocketAddr {
    raw(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await
}

/// Returns an address that no server listens on.
pub(super) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Starts a server that runs `converse` on each connection.
pub(super) async fn raw<F>(converse: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(converse(connection));
        }
    });
    address
}
