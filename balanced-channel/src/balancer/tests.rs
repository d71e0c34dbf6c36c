//! Property tests of the balancer with its real tasks and connections, over in-memory streams and in paused time. After
//! any sequence of events, the picker has exactly the READY subchannels.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Mutex};

use http::HeaderMap;
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::watch,
    task::yield_now,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    outlier::CallOutcome,
    policy::{PickArgs, Policy},
    resolver::{Endpoint, ResolveError, Updates, updates},
    subchannel::Connectivity,
    transport::HeaderListLimit,
};

const HOSTS: u8 = 5;
/// A time longer than any attempt to connect, any backoff and any ejection in these tests.
const LONG: Duration = Duration::from_secs(60);
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// An event of the test. Hosts are numbers.
#[derive(Clone, Debug)]
enum Happens {
    /// The resolver lists the hosts whose bits are set.
    Listed(u8),
    ResolverFails,
    /// From now on, a host treats attempts to connect in this way.
    Treats(u8, Treatment),
    /// A host loses its connections.
    Lost(u8),
    /// A host sends GOAWAY on its connections.
    GoAway(u8),
    /// Five calls to a host fail in a row.
    Fails(u8),
    /// The test yields this many times to the tasks.
    Turns(u8),
    Passes(Duration),
    /// Time passes until nothing changes any more.
    Rests,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Treatment {
    Accepts,
    Refuses,
    Swallows,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Serve,
    GoAway,
}

/// The hosts, which refuse connections at first.
#[derive(Clone, Default)]
struct Hosts(Arc<Mutex<[TestHost; HOSTS as usize]>>);

#[derive(Default)]
struct TestHost {
    treatment: Option<Treatment>,
    /// The senders to the servers of the connections. A sender whose connection the client has closed has no receiver.
    connections: Vec<watch::Sender<Order>>,
}

/// A balancer under test, with its hosts.
struct World {
    hosts: Hosts,
    listed: Option<u8>,
    /// True if the resolver has published a set or an error.
    resolver_reported: bool,
    updates: Updates,
    published: Arc<Published>,
    _balancer: AbortOnDropHandle<()>,
}

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 80).into()
}

// === impl Hosts ===

impl Hosts {
    fn with<T>(&self, host: u8, change: impl FnOnce(&mut TestHost) -> T) -> T {
        change(&mut self.0.lock().unwrap()[usize::from(host)])
    }

    fn accepts(&self, host: u8) -> bool {
        self.with(host, |host| host.treatment == Some(Treatment::Accepts))
    }

    fn open(&self, host: u8) -> usize {
        self.with(host, |host| host.connections.iter().filter(|open| open.receiver_count() > 0).count())
    }
}

impl Connector for Hosts {
    type Io = DuplexStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<DuplexStream> {
        let SocketAddr::V4(address) = endpoint.address else { panic!("hosts are IPv4") };
        let host = address.ip().octets()[3];
        match self.with(host, |host| host.treatment) {
            Some(Treatment::Accepts) => {
                let (client, server) = duplex(4096);
                let (orders, received) = watch::channel(Order::Serve);
                self.with(host, |host| host.connections.push(orders));
                tokio::spawn(serve(server, received));
                Ok(client)
            }
            Some(Treatment::Swallows) => pending().await,
            Some(Treatment::Refuses) | None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Serves until the client closes the connection, or the sender of orders is dropped.
async fn serve(mut io: DuplexStream, mut orders: watch::Receiver<Order>) {
    let mut buffer = [0; 1024];
    if io.write_all(SETTINGS).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            read = io.read(&mut buffer) => if matches!(read, Ok(0) | Err(_)) { return },
            order = orders.changed() => {
                if order.is_err() || io.write_all(GOAWAY).await.is_err() {
                    return;
                }
            }
        }
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let (hosts, published) = (Hosts::default(), Arc::new(Published::new()));
        let (updates, resolutions) = updates();
        let balancer = BalancerConfig {
            connector: Arc::new(hosts.clone()),
            http2: Http2Config {
                connect_timeout: Duration::from_secs(3),
                keepalive: None,
                header_list_limit: HeaderListLimit::default(),
                too_many_pings: Arc::default(),
            },
            backoff: BackoffPolicy { max: Duration::from_secs(5), ..BackoffPolicy::default() },
            locality: Locality::new(None),
            policy: Policy::RoundRobin.build(&Arc::default()),
            outliers: OutlierDetection {
                base_ejection_time: Duration::from_secs(2),
                max_ejection_time: Duration::from_secs(5),
                max_ejection_percent: 100,
                ..OutlierDetection::default()
            },
            health_check: None,
            published: published.clone(),
            connections: Arc::default(),
            ejections: Arc::default(),
            resolutions,
        };
        let balancer = AbortOnDropHandle::new(tokio::spawn(balancer.run()));
        Self { hosts, listed: None, resolver_reported: false, updates, published, _balancer: balancer }
    }

    async fn happens(&mut self, what: &Happens) {
        match *what {
            Happens::Listed(hosts) => {
                (self.listed, self.resolver_reported) = (Some(hosts), true);
                let listed = (0..HOSTS).filter(|host| hosts & 1 << host != 0);
                self.updates.publish(listed.map(|host| address(host).into()));
            }
            Happens::ResolverFails => {
                self.resolver_reported = true;
                self.updates.fail(ResolveError::new("no"));
            }
            Happens::Treats(host, how) => self.hosts.with(host, |host| host.treatment = Some(how)),
            Happens::Lost(host) => self.hosts.with(host, |host| host.connections.clear()),
            Happens::GoAway(host) => self.hosts.with(host, |host| {
                for connection in &host.connections {
                    let _ = connection.send(Order::GoAway);
                }
            }),
            Happens::Fails(host) => {
                for subchannel in self.published.subchannels().iter() {
                    if subchannel.endpoint.address == address(host) {
                        (0..5).for_each(|_| subchannel.consecutive_failures.record(CallOutcome::Failure));
                    }
                }
            }
            Happens::Turns(turns) => {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
            Happens::Passes(time) => sleep(time).await,
            Happens::Rests => {
                sleep(LONG).await;
                self.rested();
            }
        }
        self.holds(false);
    }

    /// Returns the endpoints that calls reach.
    fn picked(&self) -> BTreeSet<SocketAddr> {
        let ChannelPicker::Ready(picker) = &**self.published.picker() else { return BTreeSet::new() };
        let call = PickArgs { headers: &HeaderMap::new() };
        let picks = (0..4 * HOSTS).filter_map(|_| picker.pick(&call));
        picks.map(|pick| pick.subchannel.address()).collect()
    }

    /// Asserts that the picker has the READY subchannels that are not ejected, or all READY ones if all are ejected.
    /// Unless `at_rest`, connections of some of them may just have been lost.
    fn holds(&self, at_rest: bool) {
        let (mut ready, mut well) = (BTreeSet::new(), BTreeSet::new());
        for subchannel in self.published.subchannels().iter() {
            let status = subchannel.status();
            if status.state == Connectivity::Ready {
                ready.insert(subchannel.endpoint.address);
                if status.ejected_until.is_none() {
                    well.insert(subchannel.endpoint.address);
                }
            }
        }
        let expected = if well.is_empty() { ready } else { well };
        let picked = self.picked();
        assert!(picked.is_subset(&expected), "picked {picked:?} of {expected:?}");
        assert!(!at_rest || picked == expected, "picked only {picked:?} of {expected:?}");
    }

    /// Asserts that each listed host that can be reached has one connection, and that other hosts have none, unless no
    /// listed host can be reached.
    fn rested(&self) {
        self.holds(true);
        let listed = |host: &u8| self.listed.is_some_and(|listed| listed & 1 << host != 0);
        let picked = self.picked();
        // A host that starts to refuse connections keeps its existing ones.
        let reached = |host: &u8| self.hosts.accepts(*host) || self.hosts.open(*host) > 0;
        let wanted: BTreeSet<_> =
            (0..HOSTS).filter(|host| listed(host) && reached(host)).map(address).collect();
        if wanted.is_empty() {
            let failing = matches!(&**self.published.picker(), ChannelPicker::TransientFailure(_));
            assert_eq!(failing, picked.is_empty() && self.resolver_reported, "{:?}", self.published.picker());
        } else {
            assert_eq!(picked, wanted);
        }
        for host in 0..HOSTS {
            let connections = usize::from(picked.contains(&address(host)));
            assert_eq!(self.hosts.open(host), connections, "connections to host {host}");
        }
    }
}

fn anything() -> impl Strategy<Value = Happens> {
    let treatment =
        select(vec![Treatment::Accepts, Treatment::Accepts, Treatment::Refuses, Treatment::Swallows]);
    prop_oneof![
        3 => (0_u8..1 << HOSTS).prop_map(Happens::Listed),
        1 => Just(Happens::ResolverFails),
        4 => (0..HOSTS, treatment).prop_map(|(host, how)| Happens::Treats(host, how)),
        2 => (0..HOSTS).prop_map(Happens::Lost),
        2 => (0..HOSTS).prop_map(Happens::GoAway),
        2 => (0..HOSTS).prop_map(Happens::Fails),
        4 => (0_u8..20).prop_map(Happens::Turns),
        2 => (0_u64..4000).prop_map(|ms| Happens::Passes(Duration::from_millis(ms))),
        1 => Just(Happens::Rests),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn picker_has_exactly_the_ready_subchannels_that_are_not_ejected(
        events in vec(anything(), 1..60),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for event in &events {
                world.happens(event).await;
            }
            world.happens(&Happens::Rests).await;
        });
    }
}
