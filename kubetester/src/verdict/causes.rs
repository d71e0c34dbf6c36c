//! The possible causes of a spread, depending on the kind of target.

use super::Kind;
use crate::{conditions::Conditions, render::count, target::Target};

/// The maximum number of endpoints that are listed.
const MAX_LISTED: usize = 3;

/// Explains why one pod took every call.
pub(super) fn one_pod(conditions: &Conditions) -> (Kind, String) {
    let Conditions { target, callers, connections, pod_is_peer, endpoints, absent_header: _ } = conditions;
    match target {
        Target::Http(_) | Target::Grpc(_) if *pod_is_peer => (
            Kind::OnePeer,
            "every call went to one address, and --pod-from peer takes the address for the pod; behind a proxy or a \
             ClusterIP there may be many: find the pod in the answers instead, with --pod-from header:NAME for example"
                .to_owned(),
        ),
        Target::Grpc(_) if *connections == 1 => (
            Kind::OneConnection,
            "one pod took every call: a gRPC client without a balancer has one connection, and a connection leads to \
             one pod, also through a ClusterIP"
                .to_owned(),
        ),
        Target::Grpc(_) => (
            Kind::OnePod,
            format!(
                "one pod took every call over all {connections} connections: there may be only one behind this address"
            ),
        ),
        Target::Http(_) => {
            let kept = match callers {
                1 => " the one connection was kept and leads to it,",
                _ => "",
            };
            (
                Kind::OnePod,
                format!(
                    "one pod took every call: there may be only one behind this address,{kept} or what stands in \
                     front sends everything over one connection, as gRPC does through a ClusterIP or with pick_first"
                ),
            )
        }
        Target::Balanced(_) => match unreachable(conditions) {
            Some(sentence) if endpoints.iter().filter(|one| one.ready).count() <= 1 => {
                (Kind::OneReachable, format!("one pod took every call: {sentence}"))
            }
            _ if endpoints.len() == 1 => one_endpoint(),
            _ => (
                Kind::OnePod,
                format!(
                    "one pod took every call, although the target has {} endpoints: they may be one pod, or the \
                     policy of its service config chooses one of them",
                    endpoints.len()
                ),
            ),
        },
        Target::Tonic(addresses) if addresses.len() == 1 => one_endpoint(),
        Target::Tonic(addresses) => (
            Kind::OnePod,
            format!(
                "one pod took every call: of the {} addresses only one could be connected to, or they lead to one pod",
                addresses.len()
            ),
        ),
    }
}

/// Explains why some pods took more calls than others.
pub(super) fn uneven(conditions: &Conditions) -> String {
    match &conditions.target {
        Target::Grpc(_) if conditions.connections > 1 => format!(
            "each of the {} connections leads to one pod, so pods get the calls of whole connections",
            conditions.connections
        ),
        Target::Grpc(_) => {
            "the client reconnected during the load, or a proxy gives the pods different weights".to_owned()
        }
        Target::Http(_) => {
            "connections that are kept alive stay with their pod (a ClusterIP chooses a pod for each connection, not \
             for each call), or a proxy in front of the pods does not send each the same share"
                .to_owned()
        }
        Target::Balanced(_) | Target::Tonic(_) => {
            "a pod was not connected for part of the time, or was ejected because its calls failed".to_owned()
        }
    }
}

/// Lists the endpoints that cannot be reached, each with the cause. Returns `None` if there are none.
pub(super) fn unreachable(conditions: &Conditions) -> Option<String> {
    let lost: Vec<_> = conditions.unreachable().collect();
    if lost.is_empty() {
        return None;
    }
    let listed = lost.iter().take(MAX_LISTED).map(|(address, error)| match error.contains(address) {
        // Most errors name the address.
        true => (*error).to_owned(),
        false => format!("{address}: {error}"),
    });
    let mut listed: Vec<_> = listed.collect();
    if lost.len() > MAX_LISTED {
        listed.push(format!("and {} more", count((lost.len() - MAX_LISTED) as u64)));
    }
    let endpoints = conditions.endpoints.len();
    Some(format!("{} of {endpoints} endpoints cannot be reached ({})", lost.len(), listed.join(", ")))
}

/// Explains what to do if no answer names its pod.
pub(super) fn no_pod_named(conditions: &Conditions) -> String {
    if let Some((header, seen)) = &conditions.absent_header
        && !seen.is_empty()
    {
        return format!("no answer has the header {header}; answers have {}", seen.join(", "));
    }
    let hint = match conditions.target {
        Target::Http(_) => "--pod-from a JSON pointer, header:NAME or regex:EXPRESSION",
        Target::Grpc(_) | Target::Balanced(_) | Target::Tonic(_) => {
            "--pod-from a JSON pointer, header:NAME, regex:EXPRESSION or peer"
        }
    };
    let known = match conditions.target {
        Target::Grpc(_) if conditions.connections == 1 => {
            "; all calls went over one connection, so they went to one pod, unless it ends at a proxy that balances calls"
        }
        _ => "",
    };
    format!("the answers do not name their pod{known}; give its place in the answer with {hint}")
}

fn one_endpoint() -> (Kind, String) {
    (Kind::OneEndpoint, "one pod took every call: the target has one address".to_owned())
}
