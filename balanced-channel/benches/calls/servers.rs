//! Hello servers in a separate process, so that their cost is not counted as the client's.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use proto::hello::{
    Greeting, Introduction,
    hello_server::{Hello, HelloServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// The argument that makes this program run the servers. Their number follows.
pub(crate) const ARGUMENT: &str = "--servers";

pub(crate) struct Servers {
    pub(crate) addresses: Vec<SocketAddr>,
    process: Child,
}

struct Says;

#[tonic::async_trait]
impl Hello for Says {
    async fn say_hello(&self, request: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(Introduction { name, version: "v1".into(), hostname: "bench".into() }))
    }
}

impl Servers {
    pub(crate) fn start(count: usize) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([ARGUMENT, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addresses = lines.take(count).map(|line| line.unwrap().parse().unwrap()).collect();
        Self { addresses, process }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until standard input is closed, which happens when the benchmark ends.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = runtime.handle().clone();
    let count = env::args().next_back().and_then(|count| count.parse().ok()).expect("how many servers");
    for _ in 0..count {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        println!("{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(HelloServer::new(Says));
        local.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    }
    runtime.block_on(async {
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = end.await;
    });
}
