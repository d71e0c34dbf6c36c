//! The flag `--health`: checks the running program, for health checks in images without a shell.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// The time limit of connecting, of each write and of each read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Queries `/healthz` on the admin port at `addr`, over loopback for `0.0.0.0` and `[::]`.
///
/// # Errors
///
/// If the response is not 200 or there is none; the error is one sentence.
pub(crate) fn check(addr: SocketAddr) -> Result<(), String> {
    let result = check_one(reachable(addr));
    // On a machine without IPv6, a program that listens on `[::]` listens on IPv4.
    if result.is_err() && addr.ip() == Ipv6Addr::UNSPECIFIED {
        return check_one((Ipv4Addr::LOCALHOST, addr.port()).into());
    }
    result
}

fn check_one(addr: SocketAddr) -> Result<(), String> {
    let status = status(addr).map_err(|error| format!("http://{addr}/healthz did not respond: {error}"))?;
    if status.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(format!("http://{addr}/healthz responded {status:?}"))
    }
}

/// Returns the status line of the response.
fn status(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(1024).read_to_end(&mut head)?;
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// Returns `addr` with an unspecified address replaced by loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
