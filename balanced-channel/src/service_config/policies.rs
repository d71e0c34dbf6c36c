//! `loadBalancingConfig`: a list of policies. The first known one is used.

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

/// The value of `loadBalancingConfig` and `childPolicy`.
pub(super) struct PolicyListJson(pub(super) SelectedPolicy);

/// The value of the deprecated `loadBalancingPolicy`: a name.
pub(super) struct PolicyNameJson(pub(super) SelectedPolicy);

/// The policy that is used, and the outlier detection around it, which is a setting of the channel in this crate.
#[derive(Default)]
pub(super) struct SelectedPolicy {
    pub(super) policy: Policy,
    pub(super) outlier_detection: Option<OutlierDetection>,
}

/// One entry of the list.
enum PolicyEntry {
    Known(SelectedPolicy),
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RandomSubsettingJson {
    subset_size: Int<1, { u32::MAX as u64 }>,
    child_policy: PolicyListJson,
}

struct PolicyListVisitor;
struct PolicyEntryVisitor;

// === impl SelectedPolicy ===

impl<P: Into<Policy>> From<P> for SelectedPolicy {
    fn from(policy: P) -> Self {
        Self { policy: policy.into(), outlier_detection: None }
    }
}

impl From<RandomSubsettingJson> for SelectedPolicy {
    fn from(
        RandomSubsettingJson { subset_size, child_policy: PolicyListJson(child) }: RandomSubsettingJson,
    ) -> Self {
        let policy = RandomSubsetting::new(subset_size.usize()).child_policy(child.policy).into();
        Self { policy, ..child }
    }
}

impl SelectedPolicy {
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
                let json = object::<OutlierDetectionJson<PolicyListJson>, A>(map)?;
                let outliers = json.config();
                let PolicyListJson(child) = json.child_policy;
                if child.outlier_detection.is_some() {
                    return Err(A::Error::custom("contains a second outlier detection; a channel has one"));
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

// === impl PolicyListJson ===

impl<'de> Deserialize<'de> for PolicyListJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PolicyListVisitor)
    }
}

impl<'de> Visitor<'de> for PolicyListVisitor {
    type Value = PolicyListJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of load balancing policies")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PolicyListJson, A::Error> {
        let mut unknown = Vec::new();
        while let Some(entry) = list.next_element()? {
            match entry {
                PolicyEntry::Unknown(name) => unknown.push(name),
                PolicyEntry::Known(choice) => {
                    // The entries after the first known one are for other clients.
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(PolicyListJson(choice));
                }
            }
        }
        Err(A::Error::custom(match unknown[..] {
            [] => "names no load balancing policy".to_owned(),
            _ => format!("has no supported load balancing policy, only {}", unknown.join(", ")),
        }))
    }
}

// === impl PolicyEntry ===

impl<'de> Deserialize<'de> for PolicyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PolicyEntryVisitor)
    }
}

impl<'de> Visitor<'de> for PolicyEntryVisitor {
    type Value = PolicyEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy's name and its config, such as {\"round_robin\": {}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PolicyEntry, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(A::Error::custom("names no load balancing policy"));
        };
        let entry = match SelectedPolicy::read(&name, &mut map)? {
            Some(choice) => PolicyEntry::Known(choice),
            None => {
                map.next_value::<IgnoredAny>()?;
                PolicyEntry::Unknown(name)
            }
        };
        match map.next_key::<String>()? {
            None => Ok(entry),
            Some(second) => Err(A::Error::custom(format!("has {second:?} too; an entry is one policy"))),
        }
    }
}

// === impl PolicyNameJson ===

impl<'de> Deserialize<'de> for PolicyNameJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match &*name.to_ascii_lowercase() {
            "round_robin" => Ok(Self(SelectedPolicy::default())),
            "pick_first" => Ok(Self(crate::policy::PickFirst::default().into())),
            _ => Err(D::Error::custom(format!("{name:?} is not supported, or needs loadBalancingConfig"))),
        }
    }
}
