//! The pods of the demo: child processes, each on a loopback address of its own.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{Settings, gateway, process::Process};
use crate::{
    demo::system::{GRPC_SVC, HTTP_SVC},
    dns::DnsServer,
    drill::platform::PlatformError,
    loopback::Block,
};

/// The pods' port, unless another program uses it on all addresses.
pub(super) const PORT: u16 = 8000;
/// The time that a pod accepts calls after SIGTERM. It is slightly longer than the 2 s between DNS lookups of the
/// gateway. On Kubernetes it must be longer than the time for which cluster DNS caches answers.
const DRAIN_DELAY: &str = "2500ms";
/// The address of the hellohttp pod, within the block.
const HTTP_HOST: u8 = 206;

/// A pod. Its number is the last part of its name and of its address.
pub(super) struct Pod {
    /// `None` while the pod is down.
    pub(super) process: Option<Process>,
    /// True if its address is in DNS.
    pub(super) listed: bool,
}

/// Starts a hellogrpc pod and waits until it is ready. Without a given port, tries [`PORT`] and then any free
/// port.
pub(super) async fn start_pod(
    block: &Block,
    number: u8,
    port: Option<u16>,
    settings: &Settings,
) -> Result<Process, PlatformError> {
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
            // Another program may use the port on all addresses.
            Err(_) => start(0).await,
        },
    }
}

/// Starts the hellohttp pod and publishes its address in DNS.
pub(super) async fn start_http(
    block: &Block,
    dns: &DnsServer,
    settings: &Settings,
) -> Result<Process, PlatformError> {
    let address = block.address(HTTP_HOST);
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

/// Publishes the addresses of all listed pods in DNS.
pub(super) fn publish(dns: &DnsServer, block: &Block, pods: &BTreeMap<u8, Pod>) {
    let listed = pods.iter().filter(|(_, pod)| pod.listed);
    dns.zone().set(GRPC_SVC, listed.map(|(number, _)| Ipv4Addr::into(block.address(*number))));
}

/// Returns the name of a pod.
pub(super) fn name(number: u8) -> String {
    format!("{}-{number}", hellogrpc::PROGRAM.name)
}
