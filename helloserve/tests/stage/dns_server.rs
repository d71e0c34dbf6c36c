//! A DNS server that gives every name the same addresses, in the same order.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::net::UdpSocket;

pub(crate) struct DnsServer {
    pub(crate) addr: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
    /// Questions for these addresses.
    asked: Arc<AtomicUsize>,
}

/// Starts a server that answers A questions with `addresses`, and others with nothing.
pub(crate) async fn dns_server(addresses: Vec<Ipv4Addr>, ttl: u32) -> DnsServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let server =
        DnsServer { addr, addresses: Arc::new(Mutex::new(addresses)), asked: Arc::new(AtomicUsize::new(0)) };
    let (addresses, asked) = (server.addresses.clone(), server.asked.clone());
    tokio::spawn(async move {
        let mut packet = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let mut message = Message::from_vec(&packet[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let question = message.queries[0].clone();
            if question.query_type() == RecordType::A {
                asked.fetch_add(1, SeqCst);
                for address in addresses.lock().unwrap().iter() {
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
    /// Answers with these from now on.
    pub(crate) fn set(&self, addresses: Vec<Ipv4Addr>) {
        *self.addresses.lock().unwrap() = addresses;
        self.asked.store(0, SeqCst);
    }

    /// How often it was asked since then.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}
