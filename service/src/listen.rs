//! Binds the ports of a program.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The number of connections that the kernel completes before the program accepts them.
const BACKLOG: i32 = 1024;

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}{}", hint(.source, .setting))]
pub struct BindError {
    addr: SocketAddr,
    setting: &'static str,
    source: io::Error,
}

/// Binds `port` on every address, IPv6 and IPv4. `setting` is the flag that the error message suggests.
///
/// # Errors
///
/// If the port is in use or needs more privileges.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn every_address(port: u16, setting: &'static str) -> Result<TcpListener, BindError> {
    address((Ipv6Addr::UNSPECIFIED, port).into(), setting)
}

/// Binds one address. `[::]` stands for every address: one socket for IPv6 and IPv4, or for IPv4 alone on a machine without
/// IPv6. `setting` is the flag that the error message suggests.
///
/// # Errors
///
/// If the address is in use, needs more privileges, or does not belong to this machine.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn address(addr: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    let every = addr.ip() == Ipv6Addr::UNSPECIFIED;
    let bound = match bind(addr) {
        Err(error) if every && no_ipv6(&error) => bind((Ipv4Addr::UNSPECIFIED, addr.port()).into()),
        bound => bound,
    };
    bound.map_err(|source| BindError { addr, setting, source })
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // On Unix this allows a bind while old connections are in TIME_WAIT; on Windows it would share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Returns whether a bind failed because the machine has no IPv6: either no such address family, or no such address with
/// `net.ipv6.conf.all.disable_ipv6`.
fn no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn hint(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; stop the program that holds the port, or choose another with {setting}")
        }
        io::ErrorKind::PermissionDenied => format!("; choose a port above 1023 with {setting}"),
        io::ErrorKind::AddrNotAvailable => format!("; choose an address of this machine with {setting}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    const SETTING: &str = "--listen-addr";

    #[tokio::test]
    async fn every_address_accepts_ipv4_and_ipv6() {
        let listener = every_address(0, SETTING).unwrap();
        let bound = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, bound.port())).await.unwrap();
        if bound.is_ipv6() {
            // The system may support IPv6 and still have no IPv6 address on loopback.
            if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
                TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port())).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn bind_error_has_the_cause_and_a_remedy() {
        let taken = every_address(0, SETTING).unwrap().local_addr().unwrap();
        // Dropped above: the port is free again at once.
        let taken = address(taken, SETTING).unwrap();
        let error = every_address(taken.local_addr().unwrap().port(), SETTING).unwrap_err().to_string();
        assert!(error.contains("in use") && error.ends_with("choose another with --listen-addr"), "{error}");

        // TEST-NET-1 (RFC 5737) belongs to no machine.
        let error = address(([192, 0, 2, 1], 0).into(), SETTING).unwrap_err().to_string();
        assert!(error.ends_with("choose an address of this machine with --listen-addr"), "{error}");
    }
}
