//! Any text gives either a service config with which a channel can be built, or an error with a message.

#![no_main]

use std::sync::LazyLock;

use balanced_channel::{Channel, ServiceConfig};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

fuzz_target!(|text: &str| match text.parse::<ServiceConfig>() {
    Ok(config) => {
        RUNTIME.block_on(async {
            let channel = Channel::builder("ipv4:127.0.0.1:1").service_config(config).build();
            assert!(channel.is_ok(), "a parsed config must be usable: {channel:?}");
            // Drops the channel before its tasks have run.
            drop(channel);
            tokio::task::yield_now().await;
        });
    }
    Err(error) => assert!(error.to_string().len() > "the service config is invalid: ".len()),
});
