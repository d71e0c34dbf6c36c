//! Blocks of loopback addresses, `127.x.y.0/24`, one per running system.
//!
//! On Linux all of 127.0.0.0/8 is local, so every pod can have an address of its own with the real port, as in a
//! cluster. Each system claims a block, so that two systems on one machine (a demo and a test, say) do not collide.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

/// The UDP port that is bound at the last address of a block to claim the block.
const CLAIM_PORT: u16 = 8200;

/// The number of blocks to try. There are 65 000, so collisions are rare.
const MAX_TRIES: usize = 64;

/// A block of 254 addresses that no other kubetester uses while this value is alive.
#[derive(Debug)]
pub struct Block {
    x: u8,
    y: u8,
    _claim: UdpSocket,
}

// === impl Block ===

impl Block {
    /// Claims a free block. Returns `None` if the operating system has no loopback address but 127.0.0.1, like macOS.
    ///
    /// # Errors
    ///
    /// Fails if no socket can be bound, or if every block that was tried is taken.
    pub fn claim() -> io::Result<Option<Self>> {
        let mut last = None;
        for _ in 0..MAX_TRIES {
            // 127.0 is reserved for 127.0.0.1, Debian's 127.0.1.1 and systemd's 127.0.0.53.
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

    /// Returns the address `127.x.y.host` of this block.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_block_is_free_again_when_dropped() {
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
