//! Merges the EndpointSlices of a service into one set of endpoints.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    model::{Conditions, Slice, SliceEndpoint, SlicePort},
    service::{Port, Service},
};
use crate::Endpoint;

/// All slices of a service, by name.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    slices: BTreeMap<String, Slice>,
    /// The address family that was used last. It stays in use as long as it has endpoints: a dual-stack pod has an
    /// address of each family, and must be one endpoint.
    family: Option<Family>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// The usability of an endpoint for calls. The smaller value is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Usability {
    Ready,
    /// Terminating, but still serving. Used only if no endpoint is ready.
    Draining,
}

/// No slice has the port, although there are endpoints: the target probably names the wrong port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSuchPort {
    /// The ports in the slices, such as `grpc (8000)`.
    pub(crate) ports: String,
}

// === impl Slices ===

impl Slices {
    /// Replaces all slices.
    pub(crate) fn replace(&mut self, slices: impl IntoIterator<Item = Slice>) {
        self.slices = slices.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect();
    }

    pub(crate) fn apply(&mut self, slice: Slice) {
        self.slices.insert(slice.metadata.name.clone(), slice);
    }

    pub(crate) fn delete(&mut self, slice: &Slice) {
        self.slices.remove(&slice.metadata.name);
    }

    /// Returns the endpoints for calls to `service`, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// Fails if the slices have endpoints and none of them has the port.
    pub(crate) fn endpoints(&mut self, service: &Service) -> Result<Vec<Endpoint>, NoSuchPort> {
        let (v4, v6) = (self.of(Family::V4, service), self.of(Family::V6, service));
        let (v4_used, v6_used) = (best(v4), best(v6));
        let family = match (self.family, v4_used.len(), v6_used.len()) {
            (_, 0, 0) => return self.nothing(),
            (Some(Family::V4), 1.., _) => Family::V4,
            (Some(Family::V6), _, 1..) => Family::V6,
            (_, v4, v6) if v4 < v6 => Family::V6,
            _ => Family::V4,
        };
        self.family = Some(family);
        Ok(if family == Family::V4 { v4_used } else { v6_used })
    }

    /// Returns the endpoints of one family, one for each address. An endpoint that moves between slices may be in two
    /// of them; the better usability applies.
    fn of(&self, family: Family, service: &Service) -> BTreeMap<SocketAddr, (Usability, Endpoint)> {
        let mut found = BTreeMap::new();
        for slice in self.slices.values().filter(|slice| Family::of(slice) == Some(family)) {
            let Some(port) = port(&slice.ports, &service.port) else { continue };
            for listed in &slice.endpoints {
                let (Some(usable), Some(ip)) = (Usability::of(listed.conditions), family.address(listed))
                else {
                    continue;
                };
                let endpoint = endpoint(SocketAddr::new(ip, port), listed);
                match found.entry(endpoint.address) {
                    Entry::Vacant(entry) => drop(entry.insert((usable, endpoint))),
                    Entry::Occupied(mut entry) if usable < entry.get().0 => {
                        entry.insert((usable, endpoint));
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
        found
    }

    /// Returns an empty list, or an error if the port is the reason.
    fn nothing(&self) -> Result<Vec<Endpoint>, NoSuchPort> {
        let usable = |slice: &&Slice| {
            slice.endpoints.iter().any(|listed| Usability::of(listed.conditions).is_some())
                && Family::of(slice).is_some()
        };
        let ports: BTreeSet<_> =
            self.slices.values().filter(usable).flat_map(|slice| slice.ports.iter().map(label)).collect();
        if ports.is_empty() {
            return Ok(Vec::new());
        }
        Err(NoSuchPort { ports: ports.into_iter().collect::<Vec<_>>().join(", ") })
    }
}

// === impl Family ===

impl Family {
    fn of(slice: &Slice) -> Option<Self> {
        match slice.address_type.as_str() {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            // FQDN slices would need DNS lookups. No controller of Kubernetes creates them.
            _ => None,
        }
    }

    fn address(self, listed: &SliceEndpoint) -> Option<IpAddr> {
        let address: IpAddr = listed.addresses.first()?.parse().ok()?;
        (address.is_ipv4() == (self == Self::V4)).then_some(address)
    }
}

// === impl Usability ===

impl Usability {
    fn of(conditions: Conditions) -> Option<Self> {
        if conditions.terminating() {
            conditions.serving().then_some(Self::Draining)
        } else {
            conditions.ready().then_some(Self::Ready)
        }
    }
}

/// Returns the endpoints with the best usability.
fn best(found: BTreeMap<SocketAddr, (Usability, Endpoint)>) -> Vec<Endpoint> {
    let best = found.values().map(|(usable, _)| *usable).min();
    found.into_values().filter(|(usable, _)| Some(*usable) == best).map(|(_, endpoint)| endpoint).collect()
}

fn endpoint(address: SocketAddr, listed: &SliceEndpoint) -> Endpoint {
    let owned = |text: &String| Arc::<str>::from(text.as_str());
    let mut endpoint = Endpoint::from(address);
    endpoint.name = listed.target_ref.as_ref().and_then(|target| target.name.as_ref()).map(owned);
    endpoint.zone = listed.zone.as_ref().filter(|zone| !zone.is_empty()).map(owned);
    endpoint.for_zones = listed.hints.for_zones.iter().map(|zone| owned(&zone.name)).collect();
    endpoint
}

/// Returns the number of the port `wanted` in a slice with these ports. A slice without ports, or with a port without a
/// number, allows any port.
fn port(ports: &[SlicePort], wanted: &Port) -> Option<u16> {
    let mut tcp = ports.iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    match wanted {
        Port::Number(number) => {
            let any = ports.is_empty() || tcp.any(|port| port.port.is_none_or(|port| port == *number));
            any.then_some(*number)
        }
        Port::Name(name) => tcp.find(|port| port.name == *name)?.port.filter(|port| *port > 0),
    }
}

fn label(port: &SlicePort) -> String {
    let number = port.port.map_or_else(|| "any".to_owned(), |number| number.to_string());
    if port.name.is_empty() { number } else { format!("{} ({number})", port.name) }
}

#[cfg(test)]
mod tests;
