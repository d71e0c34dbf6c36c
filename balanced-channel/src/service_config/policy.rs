//! The JSON of each policy. An absent field leaves the policy's own default.

use http::HeaderName;
use serde::{Deserialize, Deserializer, de::Error};

use super::values::{Float, Int, Object, Percent, PositiveSeconds, Seconds};
use crate::policy::{LeastRequest, PickFirst, RingHash, SlowStart, WeightedRoundRobin};

#[derive(Deserialize)]
pub(super) struct RoundRobinJson {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PickFirstJson {
    shuffle_address_list: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeastRequestJson {
    choice_count: Option<Int<2, { u32::MAX as u64 }>>,
    /// An extension to A48.
    slow_start_config: Option<Object<SlowStartJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WeightedRoundRobinJson {
    #[serde(default, deserialize_with = "per_call_only")]
    #[expect(dead_code, reason = "only refused")]
    enable_oob_load_report: (),
    blackout_period: Option<Seconds>,
    weight_expiration_period: Option<Seconds>,
    weight_update_period: Option<Seconds>,
    error_utilization_penalty: Option<NotNegative>,
    slow_start_config: Option<Object<SlowStartJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlowStartJson {
    slow_start_window: PositiveSeconds,
    aggression: Option<Positive>,
    min_weight_percent: Option<Percent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RingHashJson {
    request_hash_header: Header,
    min_ring_size: Option<RingSize>,
    max_ring_size: Option<RingSize>,
}

/// A ring has at most 8 Mi entries (gRFC A42).
type RingSize = Int<1, 8_388_608>;

struct NotNegative(f64);
struct Positive(f64);
struct Header(HeaderName);

// === the policies ===

impl PickFirstJson {
    pub(super) fn policy(self) -> PickFirst {
        PickFirst::default().shuffle(self.shuffle_address_list.unwrap_or_default())
    }
}

impl LeastRequestJson {
    pub(super) fn policy(self) -> LeastRequest {
        let default = LeastRequest::default();
        LeastRequest {
            choice_count: self.choice_count.map_or(default.choice_count, Int::usize),
            slow_start: self.slow_start_config.map(|Object(slow)| slow.config()),
        }
    }
}

impl WeightedRoundRobinJson {
    pub(super) fn policy(self) -> WeightedRoundRobin {
        let default = WeightedRoundRobin::default();
        let or = |period: Option<Seconds>, default| period.map_or(default, |Seconds(period)| period);
        WeightedRoundRobin {
            blackout_period: or(self.blackout_period, default.blackout_period),
            weight_expiration_period: or(self.weight_expiration_period, default.weight_expiration_period),
            weight_update_period: or(self.weight_update_period, default.weight_update_period),
            error_utilization_penalty: self
                .error_utilization_penalty
                .map_or(default.error_utilization_penalty, |NotNegative(penalty)| penalty),
            slow_start: self.slow_start_config.map(|Object(slow)| slow.config()),
        }
    }
}

impl SlowStartJson {
    fn config(self) -> SlowStart {
        let default = SlowStart::new(self.slow_start_window.0);
        SlowStart {
            aggression: self.aggression.map_or(default.aggression, |Positive(aggression)| aggression),
            min_weight_percent: self.min_weight_percent.map_or(default.min_weight_percent, Int::u32),
            ..default
        }
    }
}

impl RingHashJson {
    pub(super) fn policy(self) -> RingHash {
        let default = RingHash::new(self.request_hash_header.0);
        RingHash {
            min_ring_size: self.min_ring_size.map_or(default.min_ring_size, Int::usize),
            max_ring_size: self.max_ring_size.map_or(default.max_ring_size, Int::usize),
            ..default
        }
    }
}

// === the values ===

impl<'de> Deserialize<'de> for NotNegative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Float(number) = Float::deserialize(deserializer)?;
        if number < 0.0 {
            return Err(D::Error::custom(format!("is {number}; it must not be negative")));
        }
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Float(number) = Float::deserialize(deserializer)?;
        if number <= 0.0 {
            return Err(D::Error::custom(format!("is {number}; it must be more than 0")));
        }
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.parse::<HeaderName>().ok().filter(|name| !name.as_str().ends_with("-bin"));
        name.map(Self).ok_or_else(|| {
            D::Error::custom(format!("is {text:?}; it must be the name of a header, and not a binary one"))
        })
    }
}

/// Accepts only `false`: load reports are read from the trailers of calls, not from a separate stream of reports.
fn per_call_only<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Option::<bool>::deserialize(deserializer)? {
        Some(true) => Err(D::Error::custom("is not supported; load is read from the trailers of calls")),
        _ => Ok(()),
    }
}
