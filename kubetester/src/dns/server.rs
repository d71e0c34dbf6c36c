//! The sockets of the DNS server: answers queries from a [`Zone`] over UDP and TCP on one port.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hickory_server::{
    Server,
    net::runtime::Time,
    proto::{
        op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode},
        rr::{Name, RData, Record, RecordType, rdata::SOA},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};

use super::zone::{Answer, Family, Zone};

/// The maximum size of a UDP answer in bytes, as recommended by the DNS Flag Day 2020. Longer answers go over TCP.
const MAX_UDP_ANSWER: u16 = 1232;

/// The idle timeout of a TCP connection.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of answers that may wait for a slow TCP client.
const TCP_QUEUE_LENGTH: usize = 16;

/// The number of ports to try until one is free for both UDP and TCP.
const MAX_PORT_TRIES: usize = 32;

/// A running DNS server. Dropping it closes its sockets.
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    _sockets: Server<Handler>,
}

/// Answers queries from the zone.
struct Handler(Arc<Zone>);

// === impl DnsServer ===

impl DnsServer {
    /// Starts a server on a free port of `ip`, the same for UDP and TCP.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound, or no port of it is free for both.
    pub async fn start(ip: IpAddr) -> io::Result<Self> {
        let (udp, tcp) = bind_both(ip).await?;
        let address = tcp.local_addr()?;
        let zone = Arc::new(Zone::default());
        let mut sockets = Server::new(Handler(zone.clone()));
        sockets.register_socket(udp);
        sockets.register_listener(tcp, TCP_IDLE_TIMEOUT, TCP_QUEUE_LENGTH);
        Ok(Self { address, zone, _sockets: sockets })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the zone, which can be changed at any time.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }
}

async fn bind_both(ip: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind((ip, 0)).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            // Another program has the UDP port with this number.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < MAX_PORT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

// === impl Handler ===

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut reply: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let mut answers = Vec::new();
        let mut negative = None;
        match self.answer(request) {
            Ok(Answer::Addresses { addresses, ttl }) if addresses.is_empty() => {
                negative = Some(start_of_authority(ttl))
            }
            Ok(Answer::Addresses { addresses, ttl }) => answers = records(request, &addresses, ttl),
            Ok(Answer::NoSuchName { ttl }) => {
                metadata.response_code = ResponseCode::NXDomain;
                negative = Some(start_of_authority(ttl));
            }
            Ok(Answer::Failure) => metadata.response_code = ResponseCode::ServFail,
            Ok(Answer::Nothing) => return unsent(metadata),
            Err(code) => metadata.response_code = code,
        }

        let edns = request.edns.as_ref().map(|requested| {
            let mut edns = Edns::new();
            edns.set_max_payload(requested.max_payload().min(MAX_UDP_ANSWER)).set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &answers, [], &negative, []);
        match reply.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "sending a DNS answer failed");
                unsent(metadata)
            }
        }
    }
}

impl Handler {
    fn answer(&self, request: &Request) -> Result<Answer, ResponseCode> {
        if request.metadata.op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        let question = request.request_info().map_err(|_| ResponseCode::FormErr)?.query;
        let family = match question.query_type() {
            RecordType::A => Family::V4,
            RecordType::AAAA => Family::V6,
            _ => Family::Other,
        };
        Ok(self.0.answer(&question.original().name().to_ascii(), family))
    }
}

fn records(request: &Request, addresses: &[IpAddr], ttl: u32) -> Vec<Record> {
    // The name is returned in the case of the query: resolvers may check it (0x20 encoding).
    let Ok(info) = request.request_info() else { return Vec::new() };
    let name = info.query.original().name();
    let record = |address: &IpAddr| {
        let data = match *address {
            IpAddr::V4(v4) => RData::A(v4.into()),
            IpAddr::V6(v6) => RData::AAAA(v6.into()),
        };
        Record::from_rdata(name.clone(), ttl, data)
    };
    addresses.iter().map(record).collect()
}

/// Returns the SOA record that tells resolvers how long to cache a negative answer (RFC 2308).
fn start_of_authority(ttl: u32) -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 7200, 1800, 86400, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

fn unsent(metadata: Metadata) -> ResponseInfo {
    Header { metadata, counts: HeaderCounts::default() }.into()
}
