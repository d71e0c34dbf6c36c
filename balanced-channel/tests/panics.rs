//! Panics in code of the user: a connector, a lookup, a resolver. The channel keeps working.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backend::{Backend, call, fails, list, until, unused_address};
use balanced_channel::{
    BackoffPolicy, Channel, Connector, Endpoint, Lookup, LookupAnswer, PollingResolver, Refresh,
    ResolveError, Resolver, TcpConnector, Updates,
};
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tonic::Code;

const SOON: Duration = Duration::from_millis(10);

/// The log of this test program.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connector or lookup that panics on the first use.
struct PanicsOnce<T>(Arc<AtomicU32>, T);

impl<T> PanicsOnce<T> {
    fn new(then: T) -> Self {
        Self(Arc::default(), then)
    }

    fn call(&self) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "this panic belongs to the test");
    }
}

impl Connector for PanicsOnce<TcpConnector> {
    type Io = TcpStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        self.call();
        self.1.connect(endpoint).await
    }
}

impl Lookup for PanicsOnce<SocketAddr> {
    async fn lookup(&mut self) -> Result<LookupAnswer, ResolveError> {
        self.call();
        Ok(LookupAnswer { endpoints: vec![self.1.into()], ttl: SOON })
    }
}

/// A resolver that publishes an address and panics.
struct PanickingResolver(SocketAddr);

impl Resolver for PanickingResolver {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            updates.publish([self.0.into()]);
            panic!("this panic belongs to the test");
        })
    }
}

#[tokio::test]
async fn connector_that_panicked_is_used_again_and_log_lines_name_the_channel() {
    let backend = Backend::start();
    let backoff = BackoffPolicy { initial: SOON, ..BackoffPolicy::default() };
    let connector = PanicsOnce::new(TcpConnector::default());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let target = list([&backend]);
    let builder = Channel::builder(&target).name("orders").connector(connector);
    let channel = builder.backoff(backoff).build().unwrap();
    until("a call", || {
        channel.snapshot().subchannels.first().filter(|one| one.last_error.is_some()).cloned()
    })
    .await;
    until("the connection", || (channel.snapshot().ready() == 1).then_some(())).await;
    call(&channel, "").await.unwrap();
    let error = channel.snapshot().subchannels[0].last_error.clone().unwrap();
    assert!(error.contains("connector panicked"), "{error}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let span = format!("channel{{channel=\"orders\" target={target}}}");
    for message in ["connector panicked", "subchannel failed to connect", "subchannel connected"] {
        let found = log.lines().any(|line| line.contains(message) && line.contains(&span));
        assert!(found, "{message}: {log}");
    }
}

#[tokio::test]
async fn lookup_that_panicked_is_repeated() {
    let backend = Backend::start();
    let refresh = Refresh { min: SOON, max: SOON };
    let resolver = PollingResolver::new(PanicsOnce::new(backend.address), refresh);
    let channel = Channel::builder("dns:///unused:1").resolver(resolver).build().unwrap();
    until("the connection", || (channel.snapshot().ready() == 1).then_some(())).await;
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn endpoints_of_a_resolver_that_panicked_stay_in_use_and_its_end_is_reported() {
    let backend = Backend::start();
    let resolver = PanickingResolver(backend.address);
    let channel = Channel::builder("dns:///unused:1").resolver(resolver).build().unwrap();
    let error = until("the error", || channel.snapshot().resolver.error).await;
    assert!(error.contains("panicked"), "{error}");
    call(&channel, "").await.unwrap();
    let dead = PanickingResolver(unused_address());
    let channel = Channel::builder("dns:///unused:1").resolver(dead).build().unwrap();
    assert_eq!(fails(&channel, "").await.0, Code::Unavailable);
}
