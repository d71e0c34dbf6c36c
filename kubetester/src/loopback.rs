//! Blocks of loopback addresses: `127.x.y.0/24`, one to each running system.
//!
//! Linux owns all of 127.0.0.0/8, so that every pod can have an address of its own and the real port, as in
//! a cluster. Two systems on one machine (a demo and a test, say) must not meet: each claims a block.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

/// The port, at the last address of a block, whose UDP socket says that the block is taken.
const CLAIM_PORT: u16 = 8200;

/// The number of blocks that to try; with 65 000 of them a clash is rare and a second one rarer.
const TRIES: usize = 64;

/// A block of 254 addresses that no other kubetester uses, as long as this value lives.
#[derive(Debug)]
pub struct Block {
    x: u8,
    y: u8,
    _claim: UdpSocket,
}

// === impl Block ===

impl Block {
    /// Claims a free block; none when this system has no loopback addresses beside 127.0.0.1, as macOS.
    ///
    /// # Errors
    ///
    /// When sockets cannot be had at all, or every block tried is taken.
    pub fn claim() -> io::Result<Option<Self>> {
        let mut last = None;
        for _ in 0..TRIES {
            // 127.0 is left alone: 127.0.0.1, Debian's 127.0.1.1 and systemd's 127.0.0.53 live there.
            let (x, y) = (fastrand::u8(1..=254), fastrand::u8(..));
            match UdpSocket::bind((Ipv4Addr::new(127, x, y, 255), CLAIM_PORT)) {
                Ok(claim) => return Ok(Some(Self { x, y, _claim: claim })),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    /// The address `127.x.y.host` of this block.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_systems_never_share_a_block() {
        let Some(first) = Block::claim().unwrap() else { return };
        let second = Block::claim().unwrap().unwrap();
        assert_ne!(first.address(1), second.address(1));
        let taken = UdpSocket::bind((first.address(255), CLAIM_PORT)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let last = first.address(255);
        drop(first);
        UdpSocket::bind((last, CLAIM_PORT)).unwrap();
    }
}
