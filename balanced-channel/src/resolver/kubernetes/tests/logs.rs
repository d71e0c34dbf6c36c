//! The log lines about an API server that is away: one when it goes, and one when it is back.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// The lines since it was last asked.
    fn lines(&self) -> Vec<String> {
        let text = mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(text).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const REFUSED: &str = "the call failed: refused";
const RESET: &str = "the call failed: reset";
const PLACE: &str = "balanced_channel::resolver::kubernetes:";

/// The server goes away, for these reasons one after the other; returns what was logged until it is back.
async fn outage(log: &Log, server: &Server, why: impl IntoIterator<Item = &'static str>) -> Vec<String> {
    server.0.lock().unwrap().down.extend(why);
    let asked = server.asked().len();
    server.watches(Says::End);
    server.end();
    // Until it is asked again, which it is as soon as the reasons are used up.
    while !server.0.lock().unwrap().down.is_empty() || server.asked().len() < asked + 2 {
        passes(1).await;
    }
    server.watches(Says::Well);
    passes(20).await;
    log.lines()
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_the_api_server_is_one_line_for_each_reason_and_one_when_it_is_back() {
    let (log, _guard) = Log::begin();
    let (server, resolutions, _task) = follow();
    passes(1).await;
    server.say(added(8, "a", "10.0.0.1"));
    passes(1).await;
    assert_eq!(log.lines(), [""; 0], "all is well");

    let away = |why: &str| format!("WARN {PLACE} {why}; the endpoints known so far stand service=\"svc\"");
    let back = format!("INFO {PLACE} the Kubernetes API answers again service=\"svc\"");
    let watches_end_at_once = away("the Kubernetes API at http://test ends every watch at once");
    for (reasons, expected) in [
        ([REFUSED, REFUSED], vec![watches_end_at_once.clone(), away(REFUSED), back.clone()]),
        // One moment it refuses connections, the next it breaks them.
        ([REFUSED, RESET], vec![watches_end_at_once, away(REFUSED), away(RESET), back]),
    ] {
        let began = Instant::now();
        assert_eq!(outage(&log, &server, reasons.repeat(10)).await, expected);
        assert!(began.elapsed() > Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(count(&resolutions), Some(1));
    }
    assert_eq!(server.pauses("list").len(), 0, "nothing was lost");
}
