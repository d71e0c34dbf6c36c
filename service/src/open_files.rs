//! The limit on open files (`RLIMIT_NOFILE`).

/// The number of files that client connections leave to health checks, connections to backends, DNS and logs.
const RESERVE: usize = 256;

/// Raises the soft limit to the hard limit. A failure is logged.
pub(crate) fn raise_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::warn!(%error, "raising the limit on open files failed");
            }
        }
    }
}

/// Returns the maximum number of client connections: `wanted`, or fewer if the limit on open files is low.
pub(crate) fn connections(wanted: usize) -> usize {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    let limit = None;
    within(wanted, limit)
}

/// Subtracts [`RESERVE`] from the limit, but at most half of the limit.
fn within(wanted: usize, limit: Option<u64>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    wanted.min(limit - RESERVE.min(limit / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_limit_on_files_lowers_the_connections() {
        assert_eq!(within(512, None), 512);
        assert_eq!(within(512, Some(20_000)), 512);
        assert_eq!(within(512, Some(600)), 344);
        assert_eq!(within(512, Some(128)), 64);
        assert_eq!(within(512, Some(1)), 1);
    }
}
