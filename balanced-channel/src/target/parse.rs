//! Parses the parts of a target: ports, addresses and names. Each error is a predicate of the target.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The default port of a DNS server.
const DEFAULT_DNS_PORT: u16 = 53;
/// The longest host name that DNS can carry, in characters (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.rfind(']') {
        Some(end) => match text[end + 1..].strip_prefix(':') {
            Some(port) => (&text[..=end], Some(port)),
            None if end + 1 == text.len() => (text, None),
            None => return Err(format!("has \"{}\" after the address", &text[end + 1..])),
        },
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("has an IPv6 address without brackets: write [address]:port".into());
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("has no host: write dns:///host:port".into());
    }
    let Some(port) = port else { return Ok((host, None)) };
    // `u16::from_str` accepts a sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok((host, Some(number))),
        _ => Err(format!("has the port \"{port}\", which is not a number from 1 to 65535")),
    }
}

/// Reads an IPv4 address or a bracketed IPv6 address; anything else is a name.
pub(super) fn ip_literal(host: &str) -> Result<Option<IpAddr>, String> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Some(IpAddr::V6(address))),
            Err(_) => Err(format!("has \"{host}\", which is not an IPv6 address")),
        };
    }
    Ok(host.parse().ok())
}

pub(super) fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = split_port(text)?;
    let address = ip_literal(host)?
        .ok_or_else(|| format!("names the DNS server \"{host}\", which is not an IP address"))?;
    Ok(SocketAddr::new(address, port.unwrap_or(DEFAULT_DNS_PORT)))
}

pub(super) fn check_host(host: &str) -> Result<(), String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > MAX_HOST {
        return Err(format!("has a host of {} characters: DNS carries {MAX_HOST}", name.len()));
    }
    for label in name.split('.') {
        let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if label.is_empty() || label.len() > 63 || !letters {
            return Err(format!("has the host \"{host}\", which is not a DNS name"));
        }
    }
    Ok(())
}
