//! The balancer: the one task that holds the pool of subchannels.
//!
//! It compares the endpoints that its policy wants with the pool, starts and stops subchannels,
//! follows their states, and publishes a new picker whenever the READY ones change.
//!
//! An endpoint that is no longer wanted is drained as soon as a wanted one is READY, and not
//! before: a set of new pods that cannot be reached yet, or an empty answer, takes nothing away
//! from calls that still have somewhere to go.

mod entry;
mod locality;
mod published;

use std::{collections::BTreeMap, future::pending, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use entry::Member;
pub(crate) use locality::Nearby;
pub(crate) use published::{Picker, Pool, Unavailable};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use crate::{
    backoff::BackoffPolicy,
    metrics::{Connections, Ejections},
    outlier::{Detector, OutlierDetection, Record, Streak},
    policy::{Candidates, MakePicker, Standing},
    resolver::{Endpoint, Resolution, Resolutions},
    subchannel::HealthCheck,
    subchannel::{Event, State, Subchannel, Task},
    transport::{Connector, Http2},
};

/// With nothing READY and well, every endpoint is tried, and the resolver asked, at least this often.
const RESCUE: Duration = Duration::from_secs(1);

/// The task. It waits for the resolver and for the subchannels; it ends when the channel is dropped.
pub(crate) struct Balancer<C> {
    pub(crate) connector: Arc<C>,
    pub(crate) http2: Http2,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) policy: Box<dyn MakePicker>,
    pub(crate) outliers: OutlierDetection,
    pub(crate) health_check: Option<Arc<HealthCheck>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) ejections: Arc<Ejections>,
    pub(crate) nearby: Nearby,
    pub(crate) resolutions: Resolutions,
}

/// The pool as the task holds it.
struct Members<C> {
    balancer: Balancer<C>,
    members: BTreeMap<SocketAddr, Member>,
    detector: Detector,
    /// Where calls say that one endpoint has failed too many of them.
    failures: Arc<Notify>,
    /// The latest set.
    answer: Option<Arc<[Endpoint]>>,
    /// What the policy has to do with of what is preferred of the latest set, in its order.
    endpoints: Arc<[Endpoint]>,
    /// Which of those it wants connected; unknown after a new set.
    wanted: Option<Range<usize>>,
    events: mpsc::UnboundedSender<Event>,
    /// How many subchannels were ever started.
    started: u64,
    /// Why the latest attempt to connect failed.
    last_failure: String,
    /// Whether what was published last is not true any more.
    stale: bool,
}

// === impl Balancer ===

impl<C: Connector> Balancer<C> {
    pub(crate) async fn run(self) {
        let (events, mut inbox) = mpsc::unbounded_channel();
        let failures = Arc::new(Notify::new());
        let mut pool = Members {
            detector: Detector::new(self.outliers, self.ejections.clone()),
            failures: failures.clone(),
            balancer: self,
            members: BTreeMap::new(),
            answer: None,
            endpoints: Arc::default(),
            wanted: None,
            events,
            started: 0,
            last_failure: String::new(),
            stale: true,
        };
        let mut rescue = Instant::now() + RESCUE;
        let mut woken = None;
        loop {
            // Once for each time: with nothing READY, nobody asks the policy for a later one.
            let wake = pool.balancer.policy.wake().filter(|wake| Some(*wake) != woken);
            let outlook = pool.detector.wake(pool.members.values().map(|member| &member.record));
            tokio::select! {
                Ok(()) = pool.balancer.resolutions.latest.changed() => pool.resolved(),
                Some(event) = inbox.recv() => {
                    pool.changed(event);
                    // Many connections are made or lost at once; one picker says it all.
                    while let Ok(event) = inbox.try_recv() {
                        pool.changed(event);
                    }
                }
                () = sleep_until(rescue), if pool.nothing_available() => {
                    pool.try_now();
                    pool.look_around(true);
                    // An address that swallows packets brings no news for as long as an attempt may
                    // take, while the endpoints may be elsewhere by now.
                    pool.balancer.resolutions.ask.notify_one();
                    rescue = Instant::now() + RESCUE;
                }
                () = at(wake) => {
                    woken = wake;
                    pool.stale = true;
                }
                () = failures.notified() => pool.judge(),
                () = at(outlook) => pool.judge(),
            }
            pool.settle();
        }
    }
}

// === impl Members ===

impl<C: Connector> Members<C> {
    fn resolved(&mut self) {
        let Resolution { endpoints, error } = self.balancer.resolutions.latest.borrow_and_update().clone();
        self.stale |= self.nothing_ready();
        let Some((endpoints, _)) = endpoints else { return };
        // A failure repeats the last set, which may still be news: two publications come as one.
        if error.is_some() && self.answer.as_ref().is_some_and(|known| Arc::ptr_eq(known, &endpoints)) {
            return;
        }
        self.answer = Some(endpoints.clone());
        self.balancer.nearby.take(endpoints);
        self.reconsider();
        for endpoint in self.endpoints.iter() {
            if let Some(member) = self.members.get(&endpoint.address) {
                member.subchannel.describe(endpoint);
                // The resolver says that it is there: reason enough to try again now.
                member.handle.try_now();
            }
        }
    }

    /// Has the policy choose anew.
    fn reconsider(&mut self) {
        self.endpoints = self.balancer.policy.endpoints(self.balancer.nearby.endpoints());
        self.wanted = None;
    }

    /// Looks beyond what is preferred while nothing there takes calls.
    fn look_around(&mut self, waited: bool) {
        let (members, nearby) = (&self.members, &mut self.balancer.nearby);
        let takes_calls =
            |address: &_| members.get(address).is_some_and(|member| member.available().is_some());
        let lost = members.values().all(|member| member.available().is_none())
            && (waited || members.values().all(|member| member.failing));
        if lost && nearby.widen() || nearby.narrow(takes_calls) {
            self.reconsider();
        }
    }

    /// Starts what the policy wants now, and marks what it does not.
    fn choose(&mut self) {
        let members = &self.members;
        let standing =
            |endpoint: &Endpoint| members.get(&endpoint.address).map_or(Standing::Untried, Member::standing);
        let candidates = Candidates { endpoints: &self.endpoints, standing: &standing };
        let wanted = self.balancer.policy.connects(&candidates);
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.wanted = Some(wanted.clone());
        for member in self.members.values_mut() {
            member.wanted = false;
        }
        let endpoints = self.endpoints.clone();
        for endpoint in &endpoints[wanted] {
            match self.members.get_mut(&endpoint.address) {
                Some(member) => member.wanted = true,
                None => self.start(endpoint.clone()),
            }
        }
    }

    fn start(&mut self, endpoint: Endpoint) {
        let address = endpoint.address;
        let streak = Streak::new(self.balancer.outliers.consecutive_failures, self.failures.clone());
        let subchannel = Arc::new(Subchannel::new(endpoint, streak));
        self.started += 1;
        let task = Task {
            number: self.started,
            subchannel: subchannel.clone(),
            connector: self.balancer.connector.clone(),
            http2: self.balancer.http2.clone(),
            backoff: self.balancer.backoff,
            health_check: self.balancer.health_check.clone(),
            error_penalty: self.balancer.policy.error_penalty(),
            connections: self.balancer.connections.clone(),
            events: self.events.clone(),
        };
        let member = Member {
            number: self.started,
            subchannel,
            handle: task.spawn(),
            ready: None,
            failing: false,
            wanted: true,
            silent: false,
            record: Record::default(),
        };
        self.members.insert(address, member);
        self.stale = true;
    }

    fn changed(&mut self, Event { number, state }: Event) {
        let Some(member) = self.members.values_mut().find(|member| member.number == number) else { return };
        if let State::TransientFailure(error) = &state {
            self.last_failure = error.to_string();
        }
        let had = member.ready.is_some() || member.failing;
        self.stale |= member.enter(state);
        // A connection lost, or not to be had: the name may point elsewhere by now.
        if member.ready.is_none() && (had || member.failing) {
            self.balancer.resolutions.ask.notify_one();
        }
    }

    /// Ejects outliers, and lets those back in whose time is over.
    fn judge(&mut self) {
        let mut hosts: Vec<_> = self.members.values_mut().map(Member::host).collect();
        self.stale |= self.detector.look(&mut hosts);
    }

    fn nothing_ready(&self) -> bool {
        self.members.values().all(|member| member.ready.is_none())
    }

    /// Whether calls have nowhere to go, or nowhere good.
    fn nothing_available(&self) -> bool {
        self.members.values().all(|member| member.available().is_none())
    }

    fn try_now(&self) {
        for member in self.members.values() {
            member.handle.try_now();
        }
    }

    /// Starts what is wanted, drops what is not needed any more, and publishes what has changed.
    fn settle(&mut self) {
        self.look_around(false);
        self.choose();
        let covered = self.members.values().any(|member| member.wanted && member.available().is_some());
        let before = self.members.len();
        self.members.retain(|_, member| member.wanted || member.ready.is_some() && !covered);
        if self.stale || self.members.len() != before {
            self.stale = false;
            self.publish();
        }
    }

    fn publish(&mut self) {
        let members = self.members.values();
        let mut ready: Vec<_> = members.clone().filter_map(Member::available).cloned().collect();
        if ready.is_empty() {
            // Those that are not well are better than none.
            ready = members.filter_map(|member| member.ready.clone()).collect();
        }
        let picker = if ready.is_empty() {
            match self.unavailable() {
                Some(why) => Picker::Failing(why),
                None => Picker::Waiting,
            }
        } else {
            Picker::Ready(self.balancer.policy.picker(ready))
        };
        for member in self.members.values() {
            member.subchannel.avoid(member.record.ejected_until(), member.silent);
        }
        let subchannels = self.members.values().map(|member| member.subchannel.clone()).collect();
        self.balancer.pool.publish(picker, subchannels);
    }

    /// Why calls fail, when nothing is READY and nothing is about to be.
    fn unavailable(&self) -> Option<Unavailable> {
        let resolution = self.balancer.resolutions.latest.borrow();
        if self.members.is_empty() {
            return match (&resolution.error, &resolution.endpoints) {
                (Some(error), _) => Some(Unavailable::Unresolved(error.to_string())),
                (None, Some(_)) => Some(Unavailable::NoEndpoints),
                (None, None) => None,
            };
        }
        let all = self.members.values().all(|member| member.failing);
        all.then(|| Unavailable::Disconnected {
            endpoints: self.members.len(),
            last: self.last_failure.clone(),
        })
    }
}

/// Waits until `when`, if ever.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
