//! The zone of the DNS server: names, their addresses, and how the server reacts to queries.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The default time to live of answers: 5 s, the default of CoreDNS's kubernetes plugin.
pub const DEFAULT_TTL: Duration = Duration::from_secs(5);

/// Names and their addresses, as Kubernetes would publish them.
///
/// Names are compared without regard to case and to a trailing dot. Changes take effect with the next query.
#[derive(Debug)]
pub struct Zone {
    state: Mutex<State>,
    queries: AtomicU64,
}

/// The server's reaction to queries. The drills change it to simulate failures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// Answers from the zone.
    #[default]
    Answer,
    /// Answers SERVFAIL, like a DNS server that has lost its data source.
    Fail,
    /// Drops every query, as if the network were partitioned. The resolver has to time out.
    Silent,
    /// Drops every second query, as a lossy network does.
    Lossy,
}

/// The response to a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses of the requested family, rotated by one with each query. An empty list is NOERROR without data.
    Addresses { addresses: Vec<IpAddr>, ttl: u32 },
    /// The name is unknown.
    NoSuchName { ttl: u32 },
    /// SERVFAIL.
    Failure,
    /// No reply.
    Nothing,
}

/// The address family of a query. The zone has no data for other record types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Other,
}

#[derive(Debug)]
struct State {
    names: HashMap<String, Entry>,
    ttl: u32,
    response_mode: ResponseMode,
}

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    /// The rotation of the next answer. Clients that use the first address thereby reach different pods.
    turn: usize,
    /// The number of answers that contained each address.
    handed_out: HashMap<IpAddr, u64>,
}

// === impl Zone ===

impl Default for Zone {
    fn default() -> Self {
        let state = State {
            names: HashMap::new(),
            ttl: seconds(DEFAULT_TTL),
            response_mode: ResponseMode::default(),
        };
        Self { state: Mutex::new(state), queries: AtomicU64::new(0) }
    }
}

impl Zone {
    /// Replaces all addresses of `name`. An empty set leaves the name without data, like a headless service without
    /// ready pods.
    pub fn set(&self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        self.state().names.entry(canonical(name)).or_default().addresses = addresses;
    }

    /// Removes `name`. Queries for it are answered with NXDOMAIN from now on.
    pub fn remove(&self, name: &str) {
        self.state().names.remove(&canonical(name));
    }

    /// Sets the time to live of all answers, in whole seconds.
    pub fn set_ttl(&self, ttl: Duration) {
        self.state().ttl = seconds(ttl);
    }

    /// Sets the server's reaction to queries from now on.
    pub fn set_response_mode(&self, response_mode: ResponseMode) {
        self.state().response_mode = response_mode;
    }

    /// Returns the number of queries received so far, whatever the answer was.
    pub fn questions(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Returns the number of answers for `name` that contained `address` so far.
    pub fn handed_out(&self, name: &str, address: IpAddr) -> u64 {
        let state = self.state();
        state.names.get(&canonical(name)).and_then(|entry| entry.handed_out.get(&address)).map_or(0, |n| *n)
    }

    pub(super) fn answer(&self, name: &str, family: Family) -> Answer {
        let earlier = self.queries.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let ttl = state.ttl;
        match state.response_mode {
            ResponseMode::Fail => Answer::Failure,
            ResponseMode::Silent => Answer::Nothing,
            ResponseMode::Lossy if earlier.is_multiple_of(2) => Answer::Nothing,
            ResponseMode::Answer | ResponseMode::Lossy => match state.names.get_mut(&canonical(name)) {
                Some(entry) => Answer::Addresses { addresses: entry.next(family), ttl },
                None => Answer::NoSuchName { ttl },
            },
        }
    }

    /// Locks the state. Poisoning is ignored because no panic can leave the state inconsistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entry ===

impl Entry {
    fn next(&mut self, family: Family) -> Vec<IpAddr> {
        let wanted = |address: &&IpAddr| match family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
            Family::Other => false,
        };
        let mut addresses: Vec<IpAddr> = self.addresses.iter().filter(wanted).copied().collect();
        if !addresses.is_empty() {
            let turn = self.turn % addresses.len();
            addresses.rotate_left(turn);
            self.turn = self.turn.wrapping_add(1);
        }
        for address in &addresses {
            *self.handed_out.entry(*address).or_default() += 1;
        }
        addresses
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn answers_rotate_the_addresses() {
        let zone = Zone::default();
        zone.set("grpc-svc", [ip("127.0.0.1"), ip("127.0.0.2"), ip("::1")]);
        let first = |answer| match answer {
            Answer::Addresses { addresses, .. } => addresses,
            other => panic!("{other:?}"),
        };
        assert_eq!(first(zone.answer("grpc-svc", Family::V4)), [ip("127.0.0.1"), ip("127.0.0.2")]);
        assert_eq!(first(zone.answer("GRPC-svc.", Family::V4)), [ip("127.0.0.2"), ip("127.0.0.1")]);
        assert_eq!(first(zone.answer("grpc-svc", Family::V6)), [ip("::1")]);
        assert!(first(zone.answer("grpc-svc", Family::Other)).is_empty());
        assert_eq!(zone.questions(), 4);
        assert_eq!(zone.handed_out("grpc-svc", ip("127.0.0.2")), 2);
        assert_eq!(zone.handed_out("grpc-svc", ip("127.0.0.9")), 0);
    }

    #[test]
    fn name_without_addresses_has_no_data_and_unknown_name_is_nxdomain() {
        let zone = Zone::default();
        zone.set("empty", []);
        assert_eq!(zone.answer("empty", Family::V4), Answer::Addresses { addresses: vec![], ttl: 5 });
        assert_eq!(zone.answer("absent", Family::V4), Answer::NoSuchName { ttl: 5 });
        zone.remove("empty");
        zone.set_ttl(Duration::from_secs(30));
        assert_eq!(zone.answer("empty", Family::V4), Answer::NoSuchName { ttl: 30 });
    }

    #[test]
    fn response_mode_decides_between_answer_failure_and_silence() {
        let zone = Zone::default();
        zone.set("a", [ip("127.0.0.1")]);
        zone.set_response_mode(ResponseMode::Fail);
        assert_eq!(zone.answer("a", Family::V4), Answer::Failure);
        zone.set_response_mode(ResponseMode::Silent);
        assert_eq!(zone.answer("a", Family::V4), Answer::Nothing);
        zone.set_response_mode(ResponseMode::Lossy);
        assert_eq!(zone.answer("a", Family::V4), Answer::Nothing);
        assert!(matches!(zone.answer("a", Family::V4), Answer::Addresses { .. }));
        assert_eq!(zone.answer("a", Family::V4), Answer::Nothing);
        zone.set_response_mode(ResponseMode::Answer);
        assert!(matches!(zone.answer("a", Family::V4), Answer::Addresses { .. }));
    }
}
