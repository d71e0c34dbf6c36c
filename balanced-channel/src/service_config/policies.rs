//! `loadBalancingConfig`: a list of policies, of which the first known one is taken.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    outliers::OutlierDetectionJson,
    policy::{LeastRequestJson, PickFirstJson, RingHashJson, RoundRobinJson, WeightedRoundRobinJson},
    values::{Int, Object},
};
use crate::{
    outlier::OutlierDetection,
    policy::{Policy, RandomSubsetting},
};

/// What `loadBalancingConfig` and `childPolicy` hold.
pub(super) struct Policies(pub(super) Choice);

/// What the deprecated `loadBalancingPolicy` holds: a name.
pub(super) struct Named(pub(super) Choice);

/// The policy taken, and the outlier detection around it, which here belongs to the channel.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) policy: Policy,
    pub(super) outlier_detection: Option<OutlierDetection>,
}

/// One entry of the list.
enum Entry {
    Known(Choice),
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RandomSubsettingJson {
    subset_size: Int<1, { u32::MAX as u64 }>,
    child_policy: Policies,
}

struct List;
struct EntryVisitor;

// === impl Choice ===

impl<P: Into<Policy>> From<P> for Choice {
    fn from(policy: P) -> Self {
        Self { policy: policy.into(), outlier_detection: None }
    }
}

impl From<RandomSubsettingJson> for Choice {
    fn from(
        RandomSubsettingJson { subset_size, child_policy: Policies(child) }: RandomSubsettingJson,
    ) -> Self {
        let policy = RandomSubsetting::new(subset_size.usize()).child_policy(child.policy).into();
        Self { policy, ..child }
    }
}

impl Choice {
    /// Reads the config of a policy; `None` when its name is not known.
    fn read<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Option<Self>, A::Error> {
        Ok(Some(match name.strip_suffix("_experimental").unwrap_or(name) {
            "round_robin" => object::<RoundRobinJson, A>(map).map(|RoundRobinJson {}| Self::default())?,
            "pick_first" => object::<PickFirstJson, A>(map)?.policy().into(),
            "least_request" => object::<LeastRequestJson, A>(map)?.policy().into(),
            "weighted_round_robin" => object::<WeightedRoundRobinJson, A>(map)?.policy().into(),
            "ring_hash" => object::<RingHashJson, A>(map)?.policy().into(),
            "random_subsetting" => object::<RandomSubsettingJson, A>(map)?.into(),
            "outlier_detection" => {
                let json = object::<OutlierDetectionJson<Policies>, A>(map)?;
                let outliers = json.config();
                let Policies(child) = json.child_policy;
                if child.outlier_detection.is_some() {
                    return Err(A::Error::custom("has another outlier detection inside; a channel has one"));
                }
                Self { outlier_detection: Some(outliers), ..child }
            }
            _ => return Ok(None),
        }))
    }
}

fn object<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    map.next_value().map(|Object(config)| config)
}

// === impl Policies ===

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Policies;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of load balancing policies")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Policies, A::Error> {
        let mut unknown = Vec::new();
        while let Some(entry) = list.next_element()? {
            match entry {
                Entry::Unknown(name) => unknown.push(name),
                Entry::Known(choice) => {
                    // What comes after the first known one is for other clients.
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Policies(choice));
                }
            }
        }
        Err(A::Error::custom(match unknown[..] {
            [] => "names no load balancing policy".to_owned(),
            _ => format!("has no load balancing policy that is known here, only {}", unknown.join(", ")),
        }))
    }
}

// === impl Entry ===

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy's name and its config, such as {\"round_robin\": {}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(A::Error::custom("names no load balancing policy"));
        };
        let entry = match Choice::read(&name, &mut map)? {
            Some(choice) => Entry::Known(choice),
            None => {
                map.next_value::<IgnoredAny>()?;
                Entry::Unknown(name)
            }
        };
        match map.next_key::<String>()? {
            None => Ok(entry),
            Some(second) => Err(A::Error::custom(format!("has {second:?} too; an entry is one policy"))),
        }
    }
}

// === impl Named ===

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match &*name.to_ascii_lowercase() {
            "round_robin" => Ok(Self(Choice::default())),
            "pick_first" => Ok(Self(crate::policy::PickFirst::default().into())),
            _ => Err(D::Error::custom(format!("{name:?} is not known here, or needs loadBalancingConfig"))),
        }
    }
}
