//! Counts the bytes of the messages in a gRPC body, without the prefix of five bytes before each message.

/// The length of a message's prefix, which is a flag and a length (gRPC over HTTP/2).
const PREFIX: usize = 5;

/// Adds up the sizes of the messages in a body that arrives in pieces of any size.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageSize {
    bytes: u64,
    /// The number of messages that have begun.
    messages: u64,
    /// The number of bytes of the current message that are still to come.
    left: usize,
    prefix: [u8; PREFIX],
    /// The number of bytes of the next message's prefix that have arrived.
    have: usize,
}

// === impl MessageSize ===

impl MessageSize {
    /// Returns the size of the messages of a complete body.
    pub(crate) fn of(body: &[u8]) -> u64 {
        let mut size = Self::default();
        size.add(body);
        size.bytes()
    }

    pub(crate) fn add(&mut self, mut piece: &[u8]) {
        loop {
            let step = self.left.min(piece.len());
            self.left -= step;
            self.bytes += step as u64;
            piece = &piece[step..];
            if piece.is_empty() {
                return;
            }
            let (step, rest) = piece.split_at(piece.len().min(PREFIX - self.have));
            self.prefix[self.have..self.have + step.len()].copy_from_slice(step);
            self.have += step.len();
            piece = rest;
            if self.have == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.have = 0;
                self.messages += 1;
            }
        }
    }

    /// Returns the number of messages that have begun.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns the number of bytes of messages so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn incomplete_message_counts_its_received_bytes() {
        assert_eq!(MessageSize::of(b""), 0);
        assert_eq!(MessageSize::of(b"\0\0\0\0\0"), 0);
        assert_eq!(MessageSize::of(b"\0\0\0\0\x03abc\x01\0\0\0\x02de"), 5);
        assert_eq!(MessageSize::of(b"\0\0\0\0\x03a"), 1);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_add_up(
            messages in prop::collection::vec(0..2000_usize, 0..10),
            piece in 1..600_usize,
        ) {
            let mut body = Vec::new();
            for length in &messages {
                body.push(0);
                body.extend((*length as u32).to_be_bytes());
                body.extend(vec![7; *length]);
            }
            let mut size = MessageSize::default();
            body.chunks(piece).for_each(|piece| size.add(piece));
            prop_assert_eq!(size.bytes(), messages.iter().sum::<usize>() as u64);
            prop_assert_eq!(size.messages(), messages.len() as u64);
        }
    }
}
