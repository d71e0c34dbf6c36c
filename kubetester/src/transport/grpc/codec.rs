//! Passes encoded messages through: the request is encoded once for all calls, and responses are partially decoded.

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The length of a frame's header: a flag for compression, and the length of the message.
const FRAME_HEADER: usize = 5;

/// tonic's default threshold, which only matters for streams of requests.
const YIELD_THRESHOLD: usize = 32 * 1024;

/// The initial size of the buffer for responses, which grows for large responses.
const RESPONSE_BUFFER_SIZE: usize = 512;

/// Passes messages through. Contains the size of the request.
#[derive(Clone, Copy)]
pub(super) struct Encoded(pub(super) usize);

// === impl Encoded ===

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.0 + FRAME_HEADER, YIELD_THRESHOLD)
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(RESPONSE_BUFFER_SIZE, YIELD_THRESHOLD)
    }
}
