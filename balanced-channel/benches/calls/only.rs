//! Runs one contestant alone for a number of calls, for a profiler.

use contestants::{ALL, Connected};

use super::{call, contestants, one_thread, servers::Servers};

/// The argument that selects this mode.
pub(crate) const ARGUMENT: &str = "--only";

/// Makes the calls that the arguments describe.
pub(crate) fn run(mut args: impl Iterator<Item = String>) {
    let mut number =
        || args.next().and_then(|text| text.parse().ok()).expect("--only CONTESTANT CALLERS CALLS");
    let (contestant, callers, calls): (usize, usize, usize) = (number(), number(), number());
    let (contestant, servers) = (ALL[contestant], Servers::start(3));
    let runtime = one_thread();
    let service = runtime.block_on(contestant.connect(&servers.addresses));
    runtime.block_on(make(&service, callers, calls));
}

async fn make(service: &Connected, callers: usize, calls: usize) {
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move {
                for _ in 0..calls / callers {
                    call(&mut service).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}
