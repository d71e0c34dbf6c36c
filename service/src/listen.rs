//! Binds the port of a program.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel completes while the program is busy.
const BACKLOG: i32 = 1024;

/// Why a port could not be bound, as one sentence.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}{}", hint(.source, .setting))]
pub struct BindError {
    addr: SocketAddr,
    setting: &'static str,
    source: io::Error,
}

/// Binds `port` on every address: one socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6.
/// `setting` names the flag that would choose another address.
///
/// # Errors
///
/// When the port is in use, or not allowed. Call within a tokio runtime.
pub fn every_address(port: u16, setting: &'static str) -> Result<TcpListener, BindError> {
    match address((Ipv6Addr::UNSPECIFIED, port).into(), setting) {
        Err(error) if no_ipv6(&error.source) => address((Ipv4Addr::UNSPECIFIED, port).into(), setting),
        result => result,
    }
}

/// Binds one address; `[::]` is every address, IPv4 too. `setting` names the flag it came from.
///
/// # Errors
///
/// When the address is in use, not allowed, or not of this machine. Call within a tokio runtime.
pub fn address(addr: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    bind(addr).map_err(|source| BindError { addr, setting, source })
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // On Unix this only lets us bind while old connections linger; on Windows it would share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Kernels without IPv6 have no such family; with `net.ipv6.conf.all.disable_ipv6` they have no such address.
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
