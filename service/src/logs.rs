//! Logging to standard error: text on a terminal, one JSON object per line otherwise.

use std::{
    io::{self, IsTerminal as _},
    panic,
};

use tracing::error;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::LogFormat;

/// Installs the subscriber of the process, and a hook that logs panics. If a subscriber is set already, it stays.
pub fn init(filter: Targets, format: LogFormat) {
    let json = match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let result = if json {
        // Without the module: its key would be `target`, which is a field of channels.
        registry.with(lines.json().flatten_event(true).with_target(false).with_span_list(false)).try_init()
    } else {
        registry.with(lines.with_ansi(io::stderr().is_terminal())).try_init()
    };
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let reason = payload.downcast_ref::<String>().map(String::as_str);
        let reason = reason.or_else(|| payload.downcast_ref::<&str>().copied());
        let location = panic.location().map(tracing::field::display);
        error!(location, reason, "thread panicked");
    }));
    // Fails if a subscriber is set already, for example by a test.
    drop(result);
}
