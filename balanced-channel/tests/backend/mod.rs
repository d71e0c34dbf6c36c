//! A hello server on loopback that counts its calls and can be drained or killed, and a resolver that the test
//! controls.
#![allow(dead_code, unreachable_pub, reason = "each test file uses the part it needs")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use balanced_channel::{Builder, Channel, Endpoint, Resolver, Updates};
use futures_util::future::BoxFuture;
use proto::hello::{
    Greeting, Introduction,
    hello_client::HelloClient,
    hello_server::{Hello, HelloServer},
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{oneshot, watch},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// The maximum time that a test waits.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A server with its own runtime. Dropping it closes its sockets, like a kill.
pub struct Backend {
    pub address: SocketAddr,
    pub calls: Arc<AtomicU64>,
    /// The reporter of its health service, if it was started with one.
    pub health: Option<HealthReporter>,
    behavior: watch::Sender<Behavior>,
    ended: Arc<AtomicBool>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

/// The behavior of a backend for every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Healthy,
    /// Responds with UNAVAILABLE.
    Failing,
}

/// The hello service. Responds with its address, after the number of milliseconds in the name of the greeting.
struct Greeter {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    behavior: watch::Receiver<Behavior>,
}

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if *self.behavior.borrow() == Behavior::Failing {
            return Err(Status::unavailable("sick"));
        }
        let name = request.into_inner().name;
        match name.strip_prefix("fail ") {
            Some(why) => return Err(Status::failed_precondition(why)),
            None => tokio::time::sleep(Duration::from_millis(name.parse().unwrap_or(0))).await,
        }
        let hostname = self.address.to_string();
        Ok(Response::new(Introduction { name, version: "v1".into(), hostname }))
    }
}

impl Backend {
    pub fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap())
    }

    /// Starts at an address, which may be that of a backend that was dropped.
    pub fn on(address: SocketAddr) -> Self {
        Self::with(bind(address), None)
    }

    /// Starts a backend at each of these addresses, all at the same port.
    pub fn at_one_port(ips: &[&str]) -> Vec<Self> {
        let bind = |ip: &str, port| std::net::TcpListener::bind((ip, port)).ok();
        for _ in 0..100 {
            let first = bind(ips[0], 0).unwrap();
            let port = first.local_addr().unwrap().port();
            let rest: Option<Vec<_>> = ips[1..].iter().map(|ip| bind(ip, port)).collect();
            if let Some(rest) = rest {
                return std::iter::once(first)
                    .chain(rest)
                    .map(|listener| Self::with(listener, None))
                    .collect();
            }
        }
        panic!("no port is free at all of {ips:?}");
    }

    /// Starts a backend with a health service that reports SERVING for the server as a whole.
    pub fn start_with_health() -> Self {
        Self::with(bind("127.0.0.1:0".parse().unwrap()), Some(HealthReporter::new()))
    }

    fn with(listener: std::net::TcpListener, health: Option<HealthReporter>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let (behavior, moods) = watch::channel(Behavior::Healthy);
        let says = Greeter { address, calls: calls.clone(), behavior: moods };
        let service =
            health.clone().map(|health| HealthServer::new(HealthService::from_health_reporter(health)));
        let ended = Arc::new(AtomicBool::new(false));
        let done = ended.clone();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let server = Server::builder().add_service(HelloServer::new(says)).add_optional_service(service);
            server.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }).await.unwrap();
            done.store(true, Ordering::Relaxed);
        });
        Self { address, calls, health, behavior, ended, runtime: Some(runtime), stop: Some(stop) }
    }

    pub fn some(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::start()).collect()
    }

    /// Stops the server as SIGSTOP does, until the result is dropped: the kernel still receives bytes, but the server
    /// neither reads nor writes.
    #[must_use]
    pub fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (go_on, wait) = std::sync::mpsc::channel();
        let (stopping, stopped) = std::sync::mpsc::channel::<()>();
        self.runtime.as_ref().unwrap().spawn(async move {
            drop(stopping);
            wait.recv().unwrap_err();
        });
        stopped.recv().unwrap_err();
        go_on
    }

    /// Refuses new connections, sends GOAWAY, and finishes the calls in flight.
    pub fn drain(&mut self) {
        drop(self.stop.take());
    }

    pub fn set_behavior(&self, behavior: Behavior) {
        self.behavior.send_replace(behavior);
    }

    /// Returns whether the last connection is closed after a drain.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Binds an address that a stopping backend may still occupy.
fn bind(address: SocketAddr) -> std::net::TcpListener {
    for _ in 0..1000 {
        if let Ok(listener) = std::net::TcpListener::bind(address) {
            return listener;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{address} is never left")
}

/// Returns the target that lists these backends.
pub fn list<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> String {
    let list: Vec<_> = backends.into_iter().map(|backend| backend.address.to_string()).collect();
    format!("ipv4:{}", list.join(","))
}

/// Returns an address without a listener.
pub fn unused_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A resolver that passes its [`Updates`] to the test.
pub struct ManualResolver(oneshot::Sender<Updates>);

impl ManualResolver {
    pub fn new() -> (Self, oneshot::Receiver<Updates>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }
}

impl Resolver for ManualResolver {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        drop(self.0.send(updates.clone()));
        Box::pin(async move { updates.closed().await })
    }
}

/// Returns a channel, and the [`Updates`] for its endpoints.
pub async fn manual_channel() -> (Channel, Updates) {
    manual_channel_with(|builder| builder).await
}

/// Returns a channel with the settings of `configure`, and the [`Updates`] for its endpoints.
pub async fn manual_channel_with(configure: impl FnOnce(Builder) -> Builder) -> (Channel, Updates) {
    let (resolver, updates) = ManualResolver::new();
    let channel = configure(Channel::builder("dns:///static:1").resolver(resolver)).build().unwrap();
    (channel, updates.await.unwrap())
}

pub fn endpoints<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Vec<Endpoint> {
    backends.into_iter().map(|backend| backend.address.into()).collect()
}

/// Waits until the channel has `count` subchannels and all are READY.
pub async fn ready(channel: &Channel, count: usize) {
    until(&format!("{count} READY"), || {
        let snapshot = channel.snapshot();
        (snapshot.ready() == count && snapshot.subchannels.len() == count).then_some(())
    })
    .await;
}

/// Waits until `look` returns a value.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, looking).await.unwrap_or_else(|_| panic!("never saw {what}"))
}

/// Makes one call. Returns the address of the backend that responded.
pub async fn call(channel: &Channel, name: &str) -> Result<String, Status> {
    let greeting = Greeting { name: name.to_owned() };
    let mut client = HelloClient::new(channel.clone());
    let answer =
        tokio::time::timeout(TEST_TIMEOUT, client.say_hello(greeting)).await.expect("a call must end");
    answer.map(|answer| answer.into_inner().hostname)
}

/// Makes one call without a time limit.
pub async fn call_without_limit(channel: &Channel) -> Result<(), Status> {
    let greeting = Greeting { name: String::new() };
    HelloClient::new(channel.clone()).say_hello(greeting).await.map(drop)
}

/// Makes one call that must end within `deadline`.
pub async fn call_within(channel: &Channel, deadline: Duration) -> Result<String, Status> {
    let mut request = Request::new(Greeting { name: String::new() });
    request.set_timeout(deadline);
    Ok(HelloClient::new(channel.clone()).say_hello(request).await?.into_inner().hostname)
}

/// Makes a call that must fail. Returns the code and the message.
pub async fn fails(channel: &Channel, name: &str) -> (Code, String) {
    let status = call(channel, name).await.expect_err("the call should fail");
    (status.code(), status.message().to_owned())
}
