//! Calls `hello.Hello/SayHello` ten times over a balanced channel and prints which pod answered.
//!
//!     greeter-client [TARGET] [CA_FILE]

use std::{env, error::Error, time::Duration};

use balanced_channel::{Channel, LeastRequest, RetryPolicy, Tls, metrics::Value};
use tonic::{Code, Request};

use hello::{Greeting, hello_client::HelloClient};

mod hello {
    tonic::include_proto!("hello");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let target = arguments.next().unwrap_or_else(|| "dns:///localhost:8000".to_owned());
    let channel = channel(&target, arguments.next())?;

    let mut client = HelloClient::new(channel.clone());
    for _ in 0..10 {
        let mut request = Request::new(Greeting { name: "Ann".to_owned() });
        // The deadline of this call, over all its attempts.
        request.set_timeout(Duration::from_secs(2));
        let reply = client.say_hello(request).await?.into_inner();
        println!("hello {} from {}", reply.name, reply.hostname);
    }
    print_metrics(&channel);
    Ok(())
}

/// Creates a channel to every address of `target`. With a CA file, the connections are encrypted.
fn channel(target: &str, ca_file: Option<String>) -> Result<Channel, Box<dyn Error>> {
    let retry = RetryPolicy {
        max_attempts: 3,
        retryable_status_codes: [Code::Unavailable, Code::ResourceExhausted].into(),
        ..RetryPolicy::default()
    };
    let builder = Channel::builder(target)
        .policy(LeastRequest::default().choice_count(3))
        .retry_policy(retry)
        .connect_timeout(Duration::from_secs(3))
        .call_metrics(true);
    Ok(match ca_file {
        Some(file) => builder.tls(Tls::new().ca_file(file))?.build()?,
        None => builder.build()?,
    })
}

/// Prints the counters in the text format of Prometheus. An exporter walks the same values.
fn print_metrics(channel: &Channel) {
    for metric in channel.metrics() {
        for point in &metric.points {
            if let Value::Count(count) = point.value {
                let label = |(name, value): &(&str, String)| format!("{}={value:?}", name.replace('.', "_"));
                let labels: Vec<String> = point.labels.iter().map(label).collect();
                println!("{}{{{}}} {count}", metric.name.replace('.', "_"), labels.join(","));
            }
        }
    }
}
