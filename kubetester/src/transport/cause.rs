//! Describes why a call failed, in a short sentence that is the same for all calls with the same cause.

use std::{error::Error, io};

/// Describes an I/O error in the same words on all operating systems.
pub(super) fn of_io(error: &io::Error, peer: &str) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{peer} refused the connection: nothing listens there"),
        io::ErrorKind::ConnectionReset => format!("{peer} reset the connection"),
        io::ErrorKind::ConnectionAborted => format!("the connection to {peer} was aborted"),
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => format!("{peer} closed the connection"),
        io::ErrorKind::TimedOut => format!("{peer} does not answer"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no way to {peer}"),
        io::ErrorKind::AddrNotAvailable => {
            format!("no local port is free for another connection to {peer}")
        }
        _ => format!("{peer}: {error}"),
    }
}

/// Returns the I/O error that caused another error.
pub(super) fn io_source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// Returns the last error of a chain, which is the most specific.
pub(crate) fn root(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
