//! `weighted_round_robin` over real sockets: calls are proportional to the capacity that backends report in trailers.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use backend::{call, ready};
use balanced_channel::{Channel, WeightedRoundRobin};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use proto::hello::{
    Greeting, Introduction,
    hello_server::{Hello, HelloServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Status, body::Body, transport::Server};
use tower::util::MapResponseLayer;

struct Greeter(SocketAddr);

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(&self, _: Request<Greeting>) -> Result<tonic::Response<Introduction>, Status> {
        let introduction = Introduction { hostname: self.0.to_string(), ..Default::default() };
        Ok(tonic::Response::new(introduction))
    }
}

/// Starts a backend that reports 100 calls per second at this utilization.
fn reports(utilization: f64) -> SocketAddr {
    // An encoded OrcaLoadReport: cpu_utilization is field 1, rps_fractional is field 6.
    let report = [&[0x09][..], &utilization.to_le_bytes(), &[0x31], &100_f64.to_le_bytes()].concat();
    let report = STANDARD_NO_PAD.encode(report);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let layer = MapResponseLayer::new(move |response: Response<Body>| {
        let trailers =
            HeaderMap::from_iter([("endpoint-load-metrics-bin".parse().unwrap(), report.parse().unwrap())]);
        response.map(|body| Body::new(body.with_trailers(async { Some(Ok(trailers)) })))
    });
    tokio::spawn(async move {
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = Server::builder().layer(layer).add_service(HelloServer::new(Greeter(address)));
        server.serve_with_incoming(incoming).await.unwrap();
    });
    address
}

#[tokio::test]
async fn calls_are_proportional_to_reported_capacity() {
    let (light, heavy) = (reports(0.25), reports(0.5));
    let policy = WeightedRoundRobin::default()
        .blackout_period(Duration::ZERO)
        .weight_update_period(Duration::from_millis(100));
    let channel = Channel::builder(format!("ipv4:{light},{heavy}")).policy(policy).build().unwrap();
    ready(&channel, 2).await;
    // The backend with twice the capacity gets twice the calls, once a picker has the first reports.
    let two_to_one = async {
        loop {
            let mut heavy_calls = 0;
            for _ in 0..30 {
                heavy_calls += usize::from(call(&channel, "").await.unwrap() == heavy.to_string());
            }
            if (9..=11).contains(&heavy_calls) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), two_to_one).await.expect("calls two to one");
}
