//! Servers to put load on.

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

/// A server that answers for many pods, and knows how often for which.
#[derive(Clone)]
pub(super) struct Draws(Arc<Mutex<Drawn>>);

struct Drawn {
    random: fastrand::Rng,
    /// Pods and how often each is drawn, of 100 times.
    weights: Vec<(&'static str, u32)>,
    /// The number of errors in 100 responses.
    errors: u32,
    counts: BTreeMap<&'static str, (u64, u64)>,
}

/// A server that writes down the path of each call.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<Mutex<String>>);

/// A server that stands still once.
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

    /// Calls answered and refused, by pod.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.0.lock().unwrap().counts.clone()
    }

    fn draw(&self) -> (StatusCode, [(&'static str, &'static str); 1], String) {
        let mut drawn = self.0.lock().unwrap();
        let mut dice = drawn.random.u32(..100);
        let mut pod = "";
        for (name, weight) in &drawn.weights {
            pod = name;
            if dice < *weight {
                break;
            }
            dice -= weight;
        }
        // The first success decides where pods are named, and errors before it name none.
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

    /// The paths in the order of the calls, without their slashes.
    pub(super) fn read(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// A server that answers nothing for `length`, once `after` has passed.
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

/// A server that reads a request, says `words` to it, and closes.
pub(super) async fn saying(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
    })
    .await
}

/// A server that takes connections and never says a word.
pub(super) async fn silent() -> SocketAddr {
    raw(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await
}

/// An address where nothing listens.
pub(super) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A server that converses so on each connection.
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
