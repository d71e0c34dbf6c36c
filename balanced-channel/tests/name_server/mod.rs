//! A DNS server on loopback that answers every query by the script of a test, with valid or invalid answers.
#![allow(dead_code, unreachable_pub, reason = "each test uses the part it needs")]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_server::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::CNAME},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::{Instant, sleep},
};

/// The maximum size of a UDP answer; half of it for a client without EDNS.
const MAX_UDP: u16 = 1232;
/// The maximum time that a test waits for queries.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A DNS server. Dropping it closes its sockets.
pub struct NameServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _sockets: JoinSet<()>,
}

struct Shared {
    script: Mutex<Script>,
    queries: Mutex<Vec<Query>>,
}

type Script = Box<dyn FnMut(&Query) -> Reply + Send>;

/// A received query.
#[derive(Clone, Debug)]
pub struct Query {
    pub name: String,
    pub family: RecordType,
    pub tcp: bool,
    pub at: Instant,
}

/// The server's reaction to a query.
pub enum Reply {
    /// An answer with these records; without records, the name has none of the queried type.
    Records(Vec<Record>),
    Code(ResponseCode),
    Silence,
    /// Bytes that are not a DNS message.
    Garbage(Vec<u8>),
    /// An answer with a wrong ID, and with an address that must not be used.
    WrongId,
}

// === impl NameServer ===

impl NameServer {
    /// Starts a server that answers by `script`.
    pub async fn start(script: impl FnMut(&Query) -> Reply + Send + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The UDP port of the same number may be in use.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let shared = Arc::new(Shared { script: Mutex::new(Box::new(script)), queries: Mutex::default() });
        let mut sockets = JoinSet::new();
        sockets.spawn(shared.clone().serve_udp(udp));
        sockets.spawn(shared.clone().serve_tcp(tcp));
        Self { address, shared, _sockets: sockets }
    }

    /// Replaces the script.
    pub fn set_script(&self, script: impl FnMut(&Query) -> Reply + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    pub fn queries(&self) -> Vec<Query> {
        self.shared.queries.lock().unwrap().clone()
    }

    /// Waits for `count` queries from now on, and returns them.
    pub async fn next_queries(&self, count: usize) -> Vec<Query> {
        let (before, began) = (self.queries().len(), Instant::now());
        loop {
            let queries = self.queries();
            if queries.len() >= before + count {
                return queries[before..].to_vec();
            }
            assert!(began.elapsed() < QUERY_TIMEOUT, "{} of {count} queries came", queries.len() - before);
            sleep(Duration::from_millis(2)).await;
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            if let Some(reply) = self.reply(&buffer[..length], false) {
                let _ = socket.send_to(&reply, from).await;
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shared = self.clone();
            connections.spawn(async move {
                // Ends when the client closes the connection.
                let _ = shared.converse(stream).await;
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut query = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut query).await?;
            if let Some(reply) = self.reply(&query, true) {
                stream.write_u16(reply.len().try_into().unwrap()).await?;
                stream.write_all(&reply).await?;
            }
        }
    }

    fn reply(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries[0].clone();
        let received = Query {
            name: question.name().to_string(),
            family: question.query_type(),
            tcp,
            at: Instant::now(),
        };
        let reply = (self.script.lock().unwrap())(&received);
        self.queries.lock().unwrap().push(received);
        let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        message.add_query(question.clone());
        match reply {
            Reply::Silence => return None,
            Reply::Garbage(bytes) => return Some(bytes),
            Reply::Code(code) => message.metadata.response_code = code,
            Reply::Records(records) => drop(message.add_answers(records)),
            Reply::WrongId => {
                message.metadata.id = message.metadata.id.wrapping_add(1);
                message.add_answer(record(question.name(), "127.6.6.6", 0));
            }
        }
        let whole = message.to_vec().unwrap();
        let limit = if query.edns.is_some() { query.max_payload().min(MAX_UDP) } else { 512 };
        let fits = tcp || whole.len() <= limit.into();
        Some(if fits { whole } else { message.truncate().to_vec().unwrap() })
    }
}

// === records ===

/// Returns one address record.
pub fn record(name: &Name, address: &str, ttl: u32) -> Record {
    let data = match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    };
    Record::from_rdata(name.clone(), ttl, data)
}

/// Returns the records of those addresses that are of the queried family.
pub fn addresses<S: AsRef<str>>(query: &Query, addresses: impl IntoIterator<Item = S>) -> Reply {
    let name: Name = query.name.parse().unwrap();
    let records = addresses.into_iter().map(|address| record(&name, address.as_ref(), 30));
    Reply::Records(records.filter(|record| record.record_type() == query.family).collect())
}

/// Returns a CNAME record from `name` to `target`.
pub fn alias(name: &str, target: &str) -> Record {
    Record::from_rdata(name.parse().unwrap(), 30, RData::CNAME(CNAME(target.parse().unwrap())))
}
