//! The pods of the drill's own system: child processes, each on a loopback address of its own.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{Settings, gateway, process::Process};
use crate::{
    demo::system::{GRPC_SVC, HTTP_SVC},
    dns::DnsServer,
    drill::platform::Trouble,
    loopback::Block,
};

/// The pods' port, unless another program has it on every address.
pub(super) const PORT: u16 = 8000;
/// The time that a pod that was told to stop still takes calls. A little more than the 2 s after which the gateway has
/// asked DNS again; on Kubernetes it has to be more than cluster DNS lets answers be cached.
const DRAIN_DELAY: &str = "2500ms";
/// The address of the hellohttp pod, within the block.
const HTTP: u8 = 206;

/// A pod, by its number, which is the last part of its name and of its address.
pub(super) struct Pod {
    /// `None` while the pod is down.
    pub(super) process: Option<Process>,
    /// True if its name in DNS has its address.
    pub(super) listed: bool,
}

/// Starts a hellogrpc pod and waits until it is ready. Without a port, it is [`PORT`] or else any.
pub(super) async fn start_pod(
    block: &Block,
    number: u8,
    port: Option<u16>,
    settings: &Settings,
) -> Result<Process, Trouble> {
    let start = async |port: u16| {
        let address = block.address(number);
        let env = [
            ("LISTEN_ADDR", format!("{address}:{port}")),
            ("ADMIN_ADDR", format!("{address}:0")),
            ("RESPONSE_DELAY", humantime::format_duration(settings.work).to_string()),
            ("DRAIN_DELAY", DRAIN_DELAY.to_owned()),
        ];
        let pod = Process::start(hellogrpc::PROGRAM.name, &name(number), &env).await?;
        gateway::ready(&pod).await?;
        Ok(pod)
    };
    match port {
        Some(port) => start(port).await,
        None => match start(PORT).await {
            Ok(pod) => Ok(pod),
            // Another program may have the port on every address.
            Err(_) => start(0).await,
        },
    }
}

/// Starts the hellohttp pod, and gives its name in DNS its address.
pub(super) async fn start_http(
    block: &Block,
    dns: &DnsServer,
    settings: &Settings,
) -> Result<Process, Trouble> {
    let address = block.address(HTTP);
    let env = [
        ("LISTEN_ADDR", format!("{address}:0")),
        ("ADMIN_ADDR", format!("{address}:0")),
        ("RESPONSE_DELAY", humantime::format_duration(settings.work).to_string()),
    ];
    let program = hellohttp::PROGRAM.name;
    let pod = Process::start(program, &format!("{program}-1"), &env).await?;
    gateway::ready(&pod).await?;
    dns.zone().set(HTTP_SVC, [address.into()]);
    Ok(pod)
}

/// Gives the name of the pods in DNS the addresses of those that are listed.
pub(super) fn publish(dns: &DnsServer, block: &Block, pods: &BTreeMap<u8, Pod>) {
    let listed = pods.iter().filter(|(_, pod)| pod.listed);
    dns.zone().set(GRPC_SVC, listed.map(|(number, _)| Ipv4Addr::into(block.address(*number))));
}

/// Returns the name of a pod.
pub(super) fn name(number: u8) -> String {
    format!("{}-{number}", hellogrpc::PROGRAM.name)
}
