//! A stand-in for a ClusterIP: one address that hands each new connection to the next pod.
//!
//! That is all a ClusterIP is to a client: kube-proxy picks a pod when a connection is made, and every
//! request on this connection goes there. The turn is strict, as in kube-proxy's ipvs mode (`rr`); its
//! iptables mode rolls dice.
//! <https://kubernetes.io/docs/reference/networking/virtual-ips/>

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// A pod that does not take a connection for this long is not waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A running virtual address. Dropping it closes the listener; connections that are open go on.
#[derive(Debug)]
pub struct ClusterIp {
    address: SocketAddr,
    open: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// Counts a connection for as long as it is open.
struct Counted(watch::Sender<usize>);

// === impl ClusterIp ===

impl ClusterIp {
    /// Hands connections made to `listener` to the `pods` in turn.
    ///
    /// # Errors
    ///
    /// When the listener does not know its own address.
    pub fn start(listener: TcpListener, pods: Vec<SocketAddr>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (count, open) = watch::channel(0);
        Ok(Self { address, open, task: tokio::spawn(accept(listener, pods, count)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until no connection is open, at most for `patience`; says whether that came to pass.
    pub async fn idle(&self, patience: Duration) -> bool {
        let mut open = self.open.clone();
        timeout(patience, open.wait_for(|open| *open == 0)).await.is_ok_and(|idle| idle.is_ok())
    }
}

impl Drop for ClusterIp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs until it is aborted.
async fn accept(listener: TcpListener, pods: Vec<SocketAddr>, open: watch::Sender<usize>) {
    for pod in pods.iter().cycle() {
        let client = loop {
            match listener.accept().await {
                Ok((client, _)) => break client,
                Err(error) => {
                    // Out of file descriptors, say: it may pass, and must not spin.
                    tracing::warn!(%error, "the ClusterIP cannot accept");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        tokio::spawn(carry(client, *pod, Counted::new(open.clone())));
    }
}

async fn carry(mut client: TcpStream, pod: SocketAddr, _counted: Counted) {
    let carried = async {
        let mut server = timeout(CONNECT_TIMEOUT, TcpStream::connect(pod)).await??;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await
    };
    if let Err(error) = carried.await {
        tracing::debug!(%pod, %error, "a connection through the ClusterIP broke");
    }
}

// === impl Counted ===

impl Counted {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|open| *open += 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LOCAL: (&str, u16) = ("127.0.0.1", 0);

    /// A server that says `name` to every connection and then what it was sent.
    async fn pod(name: u8) -> SocketAddr {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(&[name]).await.unwrap();
                let (mut from, mut to) = connection.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn each_connection_meets_the_next_pod_and_stays_there() {
        let pods = vec![pod(b'a').await, pod(b'b').await];
        let cluster_ip = ClusterIp::start(TcpListener::bind(LOCAL).await.unwrap(), pods).unwrap();
        let mut met = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(cluster_ip.address()).await.unwrap();
            client.write_all(b"!").await.unwrap();
            client.shutdown().await.unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            met.push(said);
        }
        assert_eq!(met, ["a!", "b!", "a!", "b!"]);
        assert!(cluster_ip.idle(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_dead_pod_costs_its_connection_only() {
        let gone = TcpListener::bind(LOCAL).await.unwrap();
        let pods = vec![gone.local_addr().unwrap(), pod(b'b').await];
        drop(gone);
        let cluster_ip = ClusterIp::start(TcpListener::bind(LOCAL).await.unwrap(), pods).unwrap();
        let mut first = TcpStream::connect(cluster_ip.address()).await.unwrap();
        assert!(!matches!(first.read_u8().await, Ok(b'b')));
        let mut second = TcpStream::connect(cluster_ip.address()).await.unwrap();
        assert_eq!(second.read_u8().await.unwrap(), b'b');
        assert!(!cluster_ip.idle(Duration::from_millis(1)).await, "one connection is open");
    }
}
