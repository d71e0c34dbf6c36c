//! The log lines during an outage of the API server: one for each error, and one at its end.

use super::*;
use crate::resolver::testing::Log;

const REFUSED: &str = "the call failed: refused";
const RESET: &str = "the call failed: reset";
const TARGET: &str = "balanced_channel::resolver::kubernetes::watcher:";

/// Makes the server unreachable with one error after the other. Returns the log lines until it responds again.
async fn outage(
    log: &Log,
    server: &ApiServer,
    errors: impl IntoIterator<Item = &'static str>,
) -> Vec<String> {
    server.0.lock().unwrap().session_errors.extend(errors);
    let before = server.requests().len();
    server.set_watches(Behaviour::End);
    server.end_watch();
    // Waits until the server has returned all errors and the resolver sends requests again.
    while !server.0.lock().unwrap().session_errors.is_empty() || server.requests().len() < before + 2 {
        advance(1).await;
    }
    server.set_watches(Behaviour::Normal);
    advance(20).await;
    log.lines()
}

#[tokio::test(start_paused = true)]
async fn outage_logs_each_error_once_and_its_end() {
    let (log, _guard) = Log::start();
    let (server, resolutions, _task) = start();
    advance(1).await;
    server.send(added(8, "a", "10.0.0.1"));
    advance(1).await;
    let outcomes = "WARN balanced_channel::resolver::outcome_log:";
    let empty = format!("{outcomes} the name has no endpoints; connections that work stay in use");
    assert_eq!(log.lines(), [empty, format!("{outcomes} the name has endpoints now endpoints=1")]);

    let failed = |error: &str| {
        let message = "Kubernetes API request failed; the last endpoints stay in use";
        format!("WARN {TARGET} {message} service=\"svc\" error=\"{error}\"")
    };
    let responds = format!("INFO {TARGET} Kubernetes API responds again service=\"svc\"");
    let watches_end_at_once = failed("the Kubernetes API at http://test ends every watch at once");
    for (errors, expected) in [
        ([REFUSED, REFUSED], vec![watches_end_at_once.clone(), failed(REFUSED), responds.clone()]),
        // Two errors in turn.
        ([REFUSED, RESET], vec![watches_end_at_once, failed(REFUSED), failed(RESET), responds]),
    ] {
        let began = Instant::now();
        assert_eq!(outage(&log, &server, errors.repeat(10)).await, expected);
        assert!(began.elapsed() > Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(count(&resolutions), Some(1));
    }
    assert_eq!(server.pauses("list").len(), 0, "the resource version stays valid");
}
