//! `ring_hash`: always the same endpoint for the same value of a header (gRFC A42 and A76).

use std::{hash::Hasher, sync::Arc};

use http::{HeaderMap, HeaderName};
use twox_hash::XxHash64;

use super::{LbPolicy, PickArgs, PickResult, Picker};
use crate::{resolver::Endpoint, subchannel::ReadySubchannel};

/// The upper limit of [`RingHash::max_ring_size`], as in gRPC.
const CAP: usize = 4096;

/// `ring_hash` ([gRFC A42], [gRFC A76]): a header of the call is hashed to a ring, and the call goes to
/// the endpoint that follows on the ring. Calls without the header go to a random endpoint.
///
/// An added or removed endpoint moves only the values next to its own entries. The ring is that of gRPC and Envoy, so
/// that other clients choose the same endpoints. An endpoint that is not READY has no entries: its values move to the
/// next endpoints on the ring, as in A42.
///
/// [gRFC A42]: https://github.com/grpc/proposal/blob/master/A42-xds-ring-hash-lb-policy.md
/// [gRFC A76]: https://github.com/grpc/proposal/blob/master/A76-ring-hash-improvements.md
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingHash {
    /// The header whose value is hashed; several values are joined by commas.
    pub request_hash_header: HeaderName,
    /// The minimum number of entries on the ring, equally many for each endpoint. Default: 1024.
    pub min_ring_size: usize,
    /// The maximum number of entries on the ring, at most 4096. If there are more endpoints, some have no entry.
    /// Default: 4096.
    pub max_ring_size: usize,
}

#[derive(Debug)]
pub(super) struct RingHashPolicy {
    config: RingHash,
    /// The number of endpoints, READY or not. The entries of an endpoint depend on it, and must not change when the
    /// connection of another endpoint is lost.
    listed: usize,
}

#[derive(Debug)]
struct RingHashPicker {
    header: HeaderName,
    ready: Vec<Arc<ReadySubchannel>>,
    /// The entries in order: a hash and the index of its endpoint.
    ring: Vec<(u64, u32)>,
}

// === impl RingHash ===

impl RingHash {
    /// Creates a policy that hashes this header, with defaults for the other values.
    pub fn new(request_hash_header: HeaderName) -> Self {
        Self { request_hash_header, min_ring_size: 1024, max_ring_size: CAP }
    }

    /// Sets [`min_ring_size`](Self::min_ring_size).
    pub fn min_ring_size(mut self, places: usize) -> Self {
        self.min_ring_size = places;
        self
    }

    /// Sets [`max_ring_size`](Self::max_ring_size).
    pub fn max_ring_size(mut self, places: usize) -> Self {
        self.max_ring_size = places;
        self
    }
}

// === impl RingHashPolicy ===

impl RingHashPolicy {
    pub(super) fn new(config: RingHash) -> Self {
        Self { config, listed: 0 }
    }
}

impl LbPolicy for RingHashPolicy {
    fn endpoints(&mut self, listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        self.listed = listed.len();
        listed
    }

    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        let max = self.config.max_ring_size.clamp(1, CAP);
        let each = self.config.min_ring_size.min(max).div_ceil(self.listed.max(ready.len())).max(1);
        let mut ring: Vec<_> = (0_u32..)
            .zip(&ready)
            .flat_map(|(owner, ready)| {
                let address = ready.address();
                (0..each)
                    .map(move |place| (XxHash64::oneshot(0, format!("{address}_{place}").as_bytes()), owner))
            })
            .take(max)
            .collect();
        ring.sort_unstable();
        Box::new(RingHashPicker { header: self.config.request_hash_header.clone(), ready, ring })
    }
}

// === impl RingHashPicker ===

impl Picker for RingHashPicker {
    fn pick(&self, call: &PickArgs<'_>) -> Option<PickResult> {
        let hash = hash(call.headers, &self.header).unwrap_or_else(|| fastrand::u64(..));
        let first = self.ring.partition_point(|(place, _)| *place < hash);
        let (before, after) = self.ring.split_at(first);
        let mut walk = after.iter().chain(before).map(|(_, owner)| &self.ready[*owner as usize]);
        walk.find(|ready| ready.is_open()).map(PickResult::from)
    }
}

/// Returns the hash of a header's values, or `None` if they are absent or empty.
fn hash(headers: &HeaderMap, header: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(header).iter().map(|value| value.as_bytes());
    let first = values.next()?;
    let mut empty = first.is_empty();
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(first);
    for value in values {
        empty = false;
        hasher.write(b",");
        hasher.write(value);
    }
    (!empty).then(|| hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::policy::testing::{TestSubchannels, pick};

    const KEY: HeaderName = HeaderName::from_static("x-key");

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (KEY, value.parse().unwrap())).collect()
    }

    fn places(picker: &dyn Picker) -> HashMap<String, usize> {
        (0..1000)
            .map(|key| key.to_string())
            .map(|key| (key.clone(), pick(picker, &headers(&[&key])).unwrap()))
            .collect()
    }

    #[tokio::test]
    async fn lost_endpoint_moves_only_its_own_values() {
        let subchannels = TestSubchannels::new(5).await;
        let mut policy = RingHashPolicy::new(RingHash::new(KEY));
        policy.endpoints(subchannels.ready().iter().map(|ready| ready.subchannel.endpoint.clone()).collect());
        let picker = policy.picker(subchannels.ready());
        let before = places(&*picker);
        assert_eq!(before, places(&*picker));
        for endpoint in 0..5 {
            let share = before.values().filter(|at| **at == endpoint).count();
            assert!((100..300).contains(&share), "{share} of 1000");
        }

        subchannels.lose(3).await;
        let walked = places(&*picker);
        let without: Vec<_> = subchannels.ready().into_iter().filter(|ready| ready.is_open()).collect();
        assert_eq!(walked, places(&*policy.picker(without)), "a new ring ends where a walk does");
        for (key, at) in &walked {
            assert!(before[key] == 3 || before[key] == *at, "{key} moved");
            assert_ne!(*at, 3);
        }
    }

    #[tokio::test]
    async fn call_without_the_header_goes_to_a_random_endpoint() {
        let subchannels = TestSubchannels::new(3).await;
        let picker = RingHashPolicy::new(RingHash::new(KEY)).picker(subchannels.ready());
        assert!(subchannels.distribution(&*picker, 3000).iter().all(|count| *count > 500));
        assert!((0..3000).any(|_| pick(&*picker, &headers(&[""])) != pick(&*picker, &headers(&[""]))));
    }

    #[test]
    fn several_values_are_joined_by_commas() {
        assert_eq!(hash(&headers(&["a", "b"]), &KEY), hash(&headers(&["a,b"]), &KEY));
        assert_ne!(hash(&headers(&["a", "b"]), &KEY), hash(&headers(&["ab"]), &KEY));
        assert_eq!(hash(&headers(&[""]), &KEY), None);
        // The published test vector of XXH64 for "abc".
        assert_eq!(hash(&headers(&["abc"]), &KEY), Some(0x44bc_2cf5_ad77_0999));
    }

    #[tokio::test]
    async fn ring_size_is_limited() {
        let subchannels = TestSubchannels::new(3).await;
        for (min, max, size) in
            [(1, 4096, 3), (1024, 4096, 1026), (9999, 99_999, 4096), (10, 2, 2), (0, 0, 1)]
        {
            let config = RingHash::new(KEY).min_ring_size(min).max_ring_size(max);
            let picker = format!("{:?}", RingHashPolicy::new(config).picker(subchannels.ready()));
            let ring = picker.rsplit_once("ring: [").unwrap().1;
            assert_eq!(ring.matches('(').count(), size, "{min} to {max}");
        }
    }
}
