//! hellogrpc over real sockets.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod answers;
mod connections;
mod greetings;
mod health;
mod http2_frames;
mod limits;
mod reflection;

use std::{net::SocketAddr, time::Duration};

use hellogrpc::Config;
use proto::hello::{Greeting, Introduction, hello_client::HelloClient};
use service::{Identity, Instance, Shutdown, Trigger, testing::bounded};
use tokio::{net::TcpListener, task::JoinHandle, time};
use tonic::transport::{Channel, Endpoint};

struct Running {
    addr: SocketAddr,
    trigger: Trigger,
    instance: Instance,
    serving: JoinHandle<()>,
}

// === impl Running ===

impl Running {
    async fn start(config: Config) -> Self {
        Self::serve(config, TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn serve(config: Config, listener: TcpListener) -> Self {
        let (trigger, shutdown) = Shutdown::new();
        let identity = Identity { version: "v1-hellogrpc".into(), hostname: "pod-1".into() };
        let instance = Instance::new(identity, shutdown);
        let addr = listener.local_addr().unwrap();
        let serving = hellogrpc::serve(config, listener, instance.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { addr, trigger, instance, serving }
    }

    async fn channel(&self) -> Channel {
        bounded(Endpoint::new(format!("http://{}", self.addr)).unwrap().connect()).await.unwrap()
    }

    async fn client(&self) -> HelloClient<Channel> {
        HelloClient::new(self.channel().await)
    }

    /// Waits until the metrics have this line.
    async fn counted(&self, line: &str) {
        bounded(async {
            while !self.instance.metrics.render().unwrap().lines().any(|it| it == line) {
                time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn greeting(name: &str) -> Greeting {
    Greeting { name: name.into() }
}

fn introduction(name: &str) -> Introduction {
    Introduction { name: name.into(), version: "v1-hellogrpc".into(), hostname: "pod-1".into() }
}
