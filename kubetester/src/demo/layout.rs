//! The addresses of the demo's programs.
//!
//! On Linux each program has its own loopback address, and the pods have their real ports, as in a cluster. If
//! 127.0.0.1 is the only loopback address, each program has its own port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use tokio::net::TcpListener;

use crate::loopback::Block;

/// The possible numbers of pods of a kind. All programs share one block of addresses.
pub const REPLICAS: RangeInclusive<u8> = 1..=100;

/// The first address of each kind, within the block.
const GRPC: u8 = 1;
const HTTP: u8 = 101;
const CLUSTER_IP: u8 = 201;
const DNS: u8 = 202;
const ADMIN: u8 = 203;

/// The number of attempts to find a port that is free on all addresses of a kind.
const TRIES: usize = 16;

/// The bound listeners of a demo.
#[derive(Debug)]
pub struct Layout {
    /// The block of addresses, claimed while the demo runs; `None` if all programs share 127.0.0.1.
    pub block: Option<Block>,
    /// The listeners of the hellogrpc pods.
    pub grpc: Vec<TcpListener>,
    /// The listeners of the hellohttp pods.
    pub http: Vec<TcpListener>,
    /// The listener of the ClusterIP of hellohttp.
    pub cluster_ip: TcpListener,
    /// The listener of the gateway's admin port.
    pub admin: TcpListener,
    /// The address for the DNS server.
    pub dns: IpAddr,
}

// === impl Layout ===

impl Layout {
    /// Binds all listeners, each program on its own address if the machine has several and `shared` is false.
    ///
    /// # Errors
    ///
    /// Fails if no block of addresses can be claimed or no port can be bound.
    pub async fn bind(grpc: u8, http: u8, shared: bool) -> io::Result<Self> {
        match if shared { None } else { Block::claim()? } {
            Some(block) => {
                let addresses = |first: u8, count: u8| {
                    (first..first + count).map(|host| block.address(host)).collect::<Vec<_>>()
                };
                Ok(Self {
                    grpc: bind_all(&addresses(GRPC, grpc), 8000).await?,
                    http: bind_all(&addresses(HTTP, http), 8100).await?,
                    cluster_ip: bind(block.address(CLUSTER_IP), 80).await?,
                    admin: bind(block.address(ADMIN), 8080).await?,
                    dns: block.address(DNS).into(),
                    block: Some(block),
                })
            }
            None => {
                let same = |count: u8| vec![Ipv4Addr::LOCALHOST; count.into()];
                Ok(Self {
                    grpc: bind_each(&same(grpc)).await?,
                    http: bind_each(&same(http)).await?,
                    cluster_ip: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
                    admin: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
                    dns: Ipv4Addr::LOCALHOST.into(),
                    block: None,
                })
            }
        }
    }
}

/// Returns the addresses of listeners.
pub fn addresses(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Binds the preferred port, or any free port if it is taken (by a server on every address) or reserved.
async fn bind(address: Ipv4Addr, preferred: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((address, preferred)).await {
        Err(error) if elsewhere(&error) => TcpListener::bind((address, 0)).await,
        bound => bound,
    }
}

/// Binds the same port on all addresses, the preferred one or another. DNS names have addresses but no ports.
async fn bind_all(addresses: &[Ipv4Addr], preferred: u16) -> io::Result<Vec<TcpListener>> {
    let mut port = preferred;
    let mut tries = 0;
    'ports: loop {
        let mut listeners: Vec<TcpListener> = Vec::new();
        for address in addresses {
            let wanted =
                listeners.first().map_or(Ok(port), |first| first.local_addr().map(|at| at.port()))?;
            match TcpListener::bind((*address, wanted)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if elsewhere(&error) && tries < TRIES => {
                    port = 0;
                    tries += 1;
                    continue 'ports;
                }
                Err(error) => return Err(error),
            }
        }
        return Ok(listeners);
    }
}

async fn bind_each(addresses: &[Ipv4Addr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(TcpListener::bind((*address, 0)).await?);
    }
    Ok(listeners)
}

fn elsewhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn pods_share_a_port_or_an_address() {
        for shared in [false, true] {
            let layout = Layout::bind(3, 2, shared).await.unwrap();
            let pods = addresses(&layout.grpc).unwrap();
            let ips: HashSet<_> = pods.iter().map(SocketAddr::ip).collect();
            let ports: HashSet<_> = pods.iter().map(SocketAddr::port).collect();
            match layout.block {
                Some(_) => assert_eq!((ips.len(), ports.len()), (3, 1)),
                None => assert_eq!((ips.len(), ports.len()), (1, 3)),
            }
        }
    }

    #[tokio::test]
    async fn taken_port_is_replaced_on_all_addresses() {
        let Some(block) = Block::claim().unwrap() else { return };
        let addresses: Vec<_> = (1..=3).map(|host| block.address(host)).collect();
        let taken = TcpListener::bind((addresses[1], 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let listeners = bind_all(&addresses, port).await.unwrap();
        let ports: HashSet<_> = listeners.iter().map(|one| one.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 1);
        assert!(!ports.contains(&port));
    }
}
