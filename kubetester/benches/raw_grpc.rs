//! A minimal gRPC load generator: callers share one tonic channel, call hello.Hello/SayHello in a loop on one thread,
//! and count. `bench/limits.py` compares it with `kubetester load`.
//!
//!     raw_grpc HOST:PORT CALLERS SECONDS
//!
//! Prints the number of calls and the elapsed time in seconds. Without arguments it does nothing.

use std::{cell::Cell, env, error::Error, time::Duration};

use futures_util::future::try_join_all;
use proto::hello::{Greeting, hello_client::HelloClient};
use tokio::{runtime, time::Instant};
use tonic::{Status, transport::Endpoint};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [target, callers, seconds] = &arguments[..] else { return Ok(()) };
    let (callers, time) = (callers.parse::<usize>()?, Duration::from_secs_f64(seconds.parse()?));
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{target}"))?.connect().await?;
        let client = HelloClient::new(channel);
        let calls = Cell::new(0u64);
        let start = Instant::now();
        let call = |mut client: HelloClient<_>| {
            let calls = &calls;
            async move {
                while start.elapsed() < time {
                    client.say_hello(Greeting { name: String::new() }).await?;
                    calls.set(calls.get() + 1);
                }
                Ok::<_, Status>(())
            }
        };
        try_join_all((0..callers).map(|_| call(client.clone()))).await?;
        println!("{} {}", calls.get(), start.elapsed().as_secs_f64());
        Ok(())
    })
}
