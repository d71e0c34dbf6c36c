//! The kinds of findings.

use std::fmt;

use serde::Serialize;

/// The kind of a finding. `docs/verdicts.md` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Some calls failed.
    Failures,
    /// An open loop made fewer calls per second than planned.
    RateNotReached,
    /// The load was interrupted before it was complete.
    Interrupted,
    /// No call succeeded.
    NothingSucceeded,
    /// The set of pods changed; evenness is judged over the times in which it was stable.
    PodsChanged,
    /// Streams ended before they were to be closed.
    StreamsEnded,
    /// Too few calls to tell an even spread from a skewed one.
    TooFewCalls,
    /// The set of pods changed too often to judge evenness.
    Unsettled,
    /// No answer names its pod.
    NoPodNamed,
    /// One pod took every call because there was one connection.
    OneConnection,
    /// One pod took every call because the target has one address.
    OneEndpoint,
    /// One pod took every call because the other endpoints cannot be reached.
    OneReachable,
    /// Every call went to one address, which counts as a pod.
    OnePeer,
    /// One pod took every call, and there is more than one possible cause.
    OnePod,
    /// Each pod took its share.
    Even,
    /// As even as a fair random choice would make it.
    EvenOnAverage,
    /// More uneven than chance explains.
    Uneven,
    /// Pods that came later hold fewer streams than the others, or none.
    StreamsStay,
    /// Some endpoints of a balanced target cannot be reached.
    EndpointsUnreachable,
    /// Some answers do not name their pod.
    SomeUnnamed,
}

/// The severity of a finding, which determines the colour of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// The finding explains other findings.
    Neutral,
    /// The load went as intended.
    Good,
    /// The finding should be investigated.
    Warning,
    /// Calls failed.
    Bad,
}

// === impl Kind ===

impl Kind {
    /// All kinds, in the order in which a verdict lists them.
    pub const ALL: [Self; 20] = [
        Self::Failures,
        Self::RateNotReached,
        Self::Interrupted,
        Self::NothingSucceeded,
        Self::PodsChanged,
        Self::StreamsEnded,
        Self::TooFewCalls,
        Self::Unsettled,
        Self::NoPodNamed,
        Self::OneConnection,
        Self::OneEndpoint,
        Self::OneReachable,
        Self::OnePeer,
        Self::OnePod,
        Self::Even,
        Self::EvenOnAverage,
        Self::Uneven,
        Self::StreamsStay,
        Self::EndpointsUnreachable,
        Self::SomeUnnamed,
    ];

    /// Returns how serious a finding of this kind is.
    pub fn tone(self) -> Tone {
        match self {
            Self::Failures | Self::NothingSucceeded => Tone::Bad,
            Self::Even | Self::EvenOnAverage => Tone::Good,
            Self::PodsChanged | Self::SomeUnnamed => Tone::Neutral,
            _ => Tone::Warning,
        }
    }

    /// Returns whether a single call proves this finding.
    pub(super) fn is_certain(self) -> bool {
        matches!(self, Self::OneConnection | Self::OneEndpoint | Self::OneReachable)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failures => "failures",
            Self::RateNotReached => "rate-not-reached",
            Self::Interrupted => "interrupted",
            Self::NothingSucceeded => "nothing-succeeded",
            Self::PodsChanged => "pods-changed",
            Self::StreamsEnded => "streams-ended",
            Self::TooFewCalls => "too-few-calls",
            Self::Unsettled => "unsettled",
            Self::NoPodNamed => "no-pod-named",
            Self::OneConnection => "one-connection",
            Self::OneEndpoint => "one-endpoint",
            Self::OneReachable => "one-reachable",
            Self::OnePeer => "one-peer",
            Self::OnePod => "one-pod",
            Self::Even => "even",
            Self::EvenOnAverage => "even-on-average",
            Self::Uneven => "uneven",
            Self::StreamsStay => "streams-stay",
            Self::EndpointsUnreachable => "endpoints-unreachable",
            Self::SomeUnnamed => "some-unnamed",
        })
    }
}

// === impl Tone ===

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Neutral => "neutral",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        })
    }
}
