//! `kubetester load` reports the pods that answered, for one connection and for the balanced channel.

use serde_json::Value;
use service::testing::exit_of;

use super::pods::{Pods, TOOL};

async fn result(target: &str, arguments: &[&str]) -> Value {
    let exit = exit_of(TOOL, &[&["load", target, "--json", "-c", "4"], arguments].concat(), &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    serde_json::from_str(&exit.stdout).unwrap()
}

#[tokio::test]
async fn one_connection_reaches_one_pod_and_balanced_channel_reaches_all() {
    let pods = Pods::start(3).await;
    let one = result(&format!("grpc://{}", pods.addresses[0]), &["-n", "60", "--max-errors", "0"]).await;
    assert_eq!(one["balance"]["spread"], "one-pod");
    assert_eq!(one["findings"][0]["kind"], "one-connection");

    let expectations = ["--max-errors", "0", "--expect-pods", "3", "--max-skew", "1"];
    let all = result(&pods.target(), &[&["-n", "90"], &expectations[..]].concat()).await;
    let calls: Vec<_> = all["pods"].as_array().unwrap().iter().map(|pod| pod["calls"].as_u64()).collect();
    assert_eq!(calls, [Some(30); 3]);
    assert_eq!(all["balance"]["spread"], "even");
}
