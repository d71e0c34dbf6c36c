//! READY subchannels for the tests of pickers, over in-memory pipes whose peer never responds.

mod allocations;

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::HeaderMap;
use tokio::{io::DuplexStream, time::Instant};
use tonic::Code;

use super::{DoneInfo, PickArgs, PickResult, Picker};
use crate::{
    outlier::ConsecutiveFailures,
    subchannel::{ReadySubchannel, Subchannel},
    transport,
};

#[derive(Default)]
pub(crate) struct TestSubchannels {
    ready: Vec<Arc<ReadySubchannel>>,
    pipes: RefCell<BTreeMap<usize, DuplexStream>>,
}

impl TestSubchannels {
    pub(crate) async fn new(count: usize) -> Self {
        Self::default().and(count).await
    }

    /// Adds `count` subchannels that are READY from now on.
    pub(crate) async fn and(mut self, count: usize) -> Self {
        for _ in 0..count {
            let (pipe, end) = tokio::io::duplex(4096);
            let client = transport::testing::connect_over(end).await;
            let at = self.ready.len();
            let address = SocketAddr::from(([10, 0, (at >> 8) as u8, at as u8], 80));
            let subchannel = Arc::new(Subchannel::new(
                address.into(),
                ConsecutiveFailures::new(&crate::OutlierDetection::off(), Arc::default()),
            ));
            self.ready.push(Arc::new(ReadySubchannel::new(subchannel, client)));
            self.pipes.get_mut().insert(at, pipe);
        }
        self
    }

    pub(crate) fn ready(&self) -> Vec<Arc<ReadySubchannel>> {
        self.ready.clone()
    }

    /// Closes a connection from the peer's side, and waits until its client has noticed.
    pub(crate) async fn lose(&self, at: usize) {
        self.pipes.borrow_mut().remove(&at);
        while self.ready[at].is_open() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn picked(&self, picker: &dyn Picker) -> Option<usize> {
        pick(picker, &HeaderMap::new())
    }

    /// Returns how many of `calls` picks each subchannel gets.
    pub(crate) fn distribution(&self, picker: &dyn Picker, calls: usize) -> Vec<usize> {
        let mut counts = vec![0; self.ready.len()];
        (0..calls).filter_map(|_| self.picked(picker)).for_each(|at| counts[at] += 1);
        counts
    }

    pub(crate) fn begin(&self, at: usize, calls: u64) {
        (0..calls).for_each(|_| self.ready[at].subchannel.calls.begin());
    }

    pub(crate) fn in_flight(&self) -> Vec<u64> {
        self.ready.iter().map(|ready| ready.subchannel.calls.in_flight()).collect()
    }

    pub(crate) fn end_all(&self) {
        for (ready, calls) in self.ready.iter().zip(self.in_flight()) {
            (0..calls).for_each(|_| ready.subchannel.calls.end(Code::Ok, false));
        }
    }

    /// Picks until a pick selects the subchannel `at`, and ends that call with a load report.
    pub(crate) fn report(&self, picker: &dyn Picker, at: usize, qps: f64, utilization: f64) {
        let pick = std::iter::repeat_with(|| picker.pick(&PickArgs { headers: &HeaderMap::new() }))
            .take(100 * self.ready.len())
            .flatten()
            .find(|pick| index(pick) == at);
        end_with_report(&pick.expect("every subchannel is picked"), qps, utilization);
    }
}

/// Ends a call with a load report in its trailers.
pub(crate) fn end_with_report(pick: &PickResult, qps: f64, utilization: f64) {
    let fields = [(0x09, utilization), (0x31, qps)];
    let bytes: Vec<u8> =
        fields.iter().flat_map(|(tag, value)| [vec![*tag], value.to_le_bytes().to_vec()].concat()).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("endpoint-load-metrics-bin", STANDARD_NO_PAD.encode(bytes).try_into().unwrap());
    let info = DoneInfo { code: Code::Ok, trailers: Some(&trailers), started: Instant::now() };
    pick.on_done.as_ref().expect("the policy reads reports").on_done(&info);
}

/// Returns the index of the subchannel that a call with these headers goes to.
pub(crate) fn pick(picker: &dyn Picker, headers: &HeaderMap) -> Option<usize> {
    picker.pick(&PickArgs { headers }).as_ref().map(index)
}

/// Returns the index of a picked subchannel, which is in its address.
pub(crate) fn index(pick: &PickResult) -> usize {
    let SocketAddr::V4(address) = pick.subchannel.address() else { unreachable!() };
    let [_, _, high, low] = address.ip().octets();
    usize::from(u16::from_be_bytes([high, low]))
}
