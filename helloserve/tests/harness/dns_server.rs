//! A DNS server that answers queries for any name with the same addresses in the same order.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::net::UdpSocket;

pub(crate) struct DnsServer {
    pub(crate) addr: SocketAddr,
    /// `None` makes every query fail with SERVFAIL.
    addresses: Arc<Mutex<Option<Vec<Ipv4Addr>>>>,
    /// The number of A queries since the last change of the addresses.
    queries: Arc<AtomicUsize>,
}

/// Starts a server that answers A queries with `addresses` and other queries with an empty answer.
pub(crate) async fn dns_server(addresses: Vec<Ipv4Addr>, ttl: u32) -> DnsServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let server = DnsServer {
        addr,
        addresses: Arc::new(Mutex::new(Some(addresses))),
        queries: Arc::new(AtomicUsize::new(0)),
    };
    let (addresses, queries) = (server.addresses.clone(), server.queries.clone());
    tokio::spawn(async move {
        let mut packet = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let mut message = Message::from_vec(&packet[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let question = message.queries[0].clone();
            if question.query_type() == RecordType::A {
                queries.fetch_add(1, SeqCst);
                let addresses = addresses.lock().unwrap();
                if addresses.is_none() {
                    message.metadata.response_code = ResponseCode::ServFail;
                }
                for address in addresses.iter().flatten() {
                    message.add_answer(Record::from_rdata(
                        question.name().clone(),
                        ttl,
                        RData::A(A(*address)),
                    ));
                }
            }
            socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
        }
    });
    server
}

// === impl DnsServer ===

impl DnsServer {
    /// Sets the addresses.
    pub(crate) fn set(&self, addresses: Vec<Ipv4Addr>) {
        *self.addresses.lock().unwrap() = Some(addresses);
        self.queries.store(0, SeqCst);
    }

    /// Makes every query fail with SERVFAIL.
    pub(crate) fn fail(&self) {
        *self.addresses.lock().unwrap() = None;
        self.queries.store(0, SeqCst);
    }

    /// Returns the number of A queries since the start, or since the last change of the addresses.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(SeqCst)
    }
}
