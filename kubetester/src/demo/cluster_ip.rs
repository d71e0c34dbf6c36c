//! A stand-in for a ClusterIP: one address that forwards each new connection to the next pod.
//!
//! This is how clients see a ClusterIP: kube-proxy picks a pod when a connection is opened, and every request on the
//! connection goes to that pod. The pods are picked by round robin, as in kube-proxy's ipvs mode (`rr`); its iptables
//! mode picks a random pod.
//! <https://kubernetes.io/docs/reference/networking/virtual-ips/>

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The timeout of connecting to a pod.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A running virtual address. Dropping it closes the listener; open connections continue.
#[derive(Debug)]
pub struct ClusterIp {
    address: SocketAddr,
    open: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// Counts a connection while it is open.
struct Counted(watch::Sender<usize>);

// === impl ClusterIp ===

impl ClusterIp {
    /// Forwards connections from `listener` to the `pods` in turn.
    ///
    /// # Errors
    ///
    /// Fails if the address of the listener cannot be determined.
    pub fn start(listener: TcpListener, pods: Vec<SocketAddr>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (count, open) = watch::channel(0);
        Ok(Self { address, open, task: tokio::spawn(accept(listener, pods, count)) })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits up to `limit` until no connection is open. Returns `false` if connections are still open.
    pub async fn idle(&self, limit: Duration) -> bool {
        let mut open = self.open.clone();
        timeout(limit, open.wait_for(|open| *open == 0)).await.is_ok_and(|idle| idle.is_ok())
    }
}

impl Drop for ClusterIp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections until the task is aborted.
async fn accept(listener: TcpListener, pods: Vec<SocketAddr>, open: watch::Sender<usize>) {
    for pod in pods.iter().cycle() {
        let client = loop {
            match listener.accept().await {
                Ok((client, _)) => break client,
                Err(error) => {
                    // A temporary error, such as no free file descriptors, must not become a busy loop.
                    tracing::warn!(%error, "the ClusterIP failed to accept a connection");
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

    /// Starts a server that sends `name` on every connection and then echoes its input.
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
    async fn connections_are_forwarded_to_pods_in_turn() {
        let pods = vec![pod(b'a').await, pod(b'b').await];
        let cluster_ip = ClusterIp::start(TcpListener::bind(LOCAL).await.unwrap(), pods).unwrap();
        let mut answers = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(cluster_ip.address()).await.unwrap();
            client.write_all(b"!").await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answers.push(answer);
        }
        assert_eq!(answers, ["a!", "b!", "a!", "b!"]);
        assert!(cluster_ip.idle(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn dead_pod_breaks_its_own_connection_only() {
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
