//! Simulated machines, and the backends on them, which can be started, drained and killed.
//!
//! A machine is one host of the network. A backend is a process on the machine, with its own port. The test changes the
//! table of desired backends at any time, and the machine follows the table.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;
use turmoil::{
    Sim,
    net::{TcpListener, TcpStream},
};

use crate::service::Greeter;

/// A host that runs backends.
#[derive(Clone)]
pub struct Node {
    ip: IpAddr,
    table: watch::Sender<BTreeMap<u16, DesiredBackend>>,
    counts: Rc<RefCell<BTreeMap<u16, Counts>>>,
}

/// One backend on a machine, running or not.
#[derive(Clone)]
pub struct Backend {
    node: Node,
    pub address: SocketAddr,
    pub counts: Counts,
}

/// The connections and calls of a backend, over all its restarts.
#[derive(Clone, Default)]
pub struct Counts {
    pub calls: Arc<AtomicU64>,
    pub accepted: Arc<AtomicU64>,
    pub closed: Arc<AtomicU64>,
}

impl Counts {
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// The desired state of a backend; a backend that is not in the table is down.
#[derive(Clone)]
struct DesiredBackend {
    /// The number of restarts: a restarted backend is a new process.
    generation: u32,
    commands: Commands,
    counts: Counts,
}

/// The commands to a process.
#[derive(Clone, Copy, Default)]
struct Commands {
    draining: bool,
    /// The number of requests to send GOAWAY on all current connections.
    goaways: u32,
}

/// A running backend.
struct Process {
    generation: u32,
    commands: watch::Sender<Commands>,
    _task: AbortOnDropHandle<()>,
}

// === impl Machine ===

impl Node {
    pub fn new(sim: &mut Sim<'_>, name: &str) -> Self {
        let (ip, table) = (sim.lookup(name), watch::Sender::new(BTreeMap::new()));
        let commands = table.clone();
        sim.host(name, move || run(ip, commands.subscribe()));
        Self { ip, table, counts: Rc::default() }
    }

    /// Returns the backend at a port, which is not running yet.
    pub fn backend(&self, port: u16) -> Backend {
        let counts = self.counts.borrow_mut().entry(port).or_default().clone();
        Backend { node: self.clone(), address: SocketAddr::new(self.ip, port), counts }
    }

    /// Starts a backend at each of `count` ports.
    pub fn backends(&self, count: u16) -> Vec<Backend> {
        (0..count).map(|n| self.backend(8000 + n).started()).collect()
    }
}

// === impl Backend ===

impl Backend {
    /// Starts the backend. A previous process that is draining continues.
    pub fn start(&self) {
        self.node.table.send_modify(|table| {
            let generation = table.get(&self.address.port()).map_or(0, |desired| desired.generation + 1);
            let desired =
                DesiredBackend { generation, commands: Commands::default(), counts: self.counts.clone() };
            table.insert(self.address.port(), desired);
        });
    }

    pub fn started(self) -> Self {
        self.start();
        self
    }

    /// Refuses new connections, sends GOAWAY on the existing ones, and finishes the calls in flight.
    pub fn drain(&self) {
        self.order(|commands| commands.draining = true);
    }

    /// Sends GOAWAY on the existing connections, as at their maximum age, and accepts new ones.
    pub fn recycle(&self) {
        self.order(|commands| commands.goaways += 1);
    }

    fn order(&self, change: impl FnOnce(&mut Commands)) {
        self.node.table.send_modify(|table| {
            change(&mut table.get_mut(&self.address.port()).expect("it runs").commands);
        });
    }

    /// Ends the process as SIGKILL does: every socket is closed at once, and the port refuses connections.
    pub fn kill(&self) {
        self.node.table.send_modify(|table| {
            table.remove(&self.address.port());
        });
    }

    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed) - self.counts.closed.load(Ordering::Relaxed)
    }
}

// === processes of a machine ===

async fn run(ip: IpAddr, mut table: watch::Receiver<BTreeMap<u16, DesiredBackend>>) -> turmoil::Result {
    let mut running: BTreeMap<u16, Vec<Process>> = BTreeMap::new();
    loop {
        let desired = table.borrow_and_update().clone();
        running.retain(|port, _| desired.contains_key(port));
        for (port, desired) in desired {
            let processes = running.entry(port).or_default();
            if processes.last().is_none_or(|last| last.generation != desired.generation) {
                processes.push(Process::start(SocketAddr::new(ip, port), &desired).await?);
            }
            if let Some(last) = processes.last() {
                last.commands.send_replace(desired.commands);
            }
        }
        if table.changed().await.is_err() {
            return Ok(());
        }
    }
}

impl Process {
    async fn start(address: SocketAddr, desired: &DesiredBackend) -> turmoil::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?;
        let greeter = Greeter { address, calls: desired.counts.calls.clone() };
        let commands = watch::Sender::new(desired.commands);
        let task = tokio::spawn(accept(listener, greeter, desired.counts.clone(), commands.subscribe()));
        Ok(Self { generation: desired.generation, commands, _task: AbortOnDropHandle::new(task) })
    }
}

async fn accept(
    listener: TcpListener,
    greeter: Greeter,
    counts: Counts,
    mut commands: watch::Receiver<Commands>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("a simulated listener does not fail").0,
            Some(_) = connections.join_next() => continue,
            _ = commands.wait_for(|commands| commands.draining) => break,
        };
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        let open = Open(counts.clone());
        let (greeter, commands) = (greeter.clone(), commands.clone());
        connections.spawn(async move {
            serve(stream, greeter, commands).await;
            drop(open);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, greeter: Greeter, mut commands: watch::Receiver<Commands>) {
    let before = commands.borrow().goaways;
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service_fn(move |request| greeter.clone().serve(request)));
    tokio::pin!(connection);
    let draining = tokio::select! {
        _ = connection.as_mut() => false,
        _ = commands.wait_for(|now| now.draining || now.goaways > before) => true,
    };
    if draining {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Counts a connection as closed when it ends in any way.
struct Open(Counts);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}
