//! The TCP addresses on which a process listens, from proc(5).

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::process::Pid;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Returns the addresses on which a process listens, sorted. Unspecified addresses are returned as loopback.
///
/// # Errors
///
/// Fails if the files of the process cannot be read.
pub(super) fn addresses(pid: Pid) -> io::Result<Vec<SocketAddr>> {
    let mut sockets = HashSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // The process may have closed the file in the meantime.
        let Ok(link) = fs::read_link(file?.path()) else { continue };
        let inode = link
            .to_str()
            .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned));
        sockets.extend(inode);
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // A system may not have IPv6.
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        found.extend(table.lines().skip(1).filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (state, inode) = (fields.get(3)?, fields.get(9)?);
            if *state == LISTEN && sockets.contains(*inode) { address(fields[1]) } else { None }
        }));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Reads an address: 32-bit words in the byte order of this machine, in hexadecimal, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical()
        }
        _ => return None,
    };
    let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listeners_of_this_process_are_found() {
        let listeners = ["127.0.0.1:0", "0.0.0.0:0"].map(|address| TcpListener::bind(address).unwrap());
        let found = addresses(rustix::process::getpid()).unwrap();
        for listener in listeners {
            let port = listener.local_addr().unwrap().port();
            assert!(found.contains(&SocketAddr::from(([127, 0, 0, 1], port))), "{found:?}");
        }
    }
}
