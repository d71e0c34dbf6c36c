//! Finds the frames in a stream of HTTP/2, without decoding them.
//!
//! A frame begins with nine bytes: a length, a type, flags and a stream (RFC 9113, section 4.1). Reading them takes a
//! few instructions per frame.

/// The length of a frame's header.
const HEADER: usize = 9;
/// The length of a client's preface, before its first frame.
const PREFACE: usize = 24;
/// The start of a GOAWAY frame: the last stream, the error, and the text that gRFC A8 compares.
const GOAWAY_LEN: usize = 8 + TOO_MANY_PINGS.len();

const TOO_MANY_PINGS: &[u8] = b"too_many_pings";
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The frame types that the sniffer observes.
pub(crate) mod frame_type {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

/// A stream that arrives in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    header: [u8; HEADER],
    /// The number of bytes of `header` that have arrived.
    header_len: usize,
    /// The number of bytes of the current frame's payload that are still to come.
    payload_left: usize,
    /// The beginning of the payload, if the frame is a GOAWAY.
    goaway: Option<Vec<u8>>,
}

/// The events that the reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameEvent {
    /// The header of a frame.
    Header(FrameHeader),
    /// A complete GOAWAY frame.
    GoAway(GoAway),
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// The length of the payload.
    pub(crate) length: usize,
    pub(crate) frame_type: u8,
    pub(crate) stream: u32,
}

/// The reason why a peer takes no more calls on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoAway {
    /// The error code of RFC 9113, section 7; 0 is NO_ERROR.
    pub(crate) error: u32,
    /// True if the peer rejected keepalive PINGs as too many (gRFC A8).
    pub(crate) too_many_pings: bool,
}

// === impl FrameReader ===

impl FrameReader {
    /// Creates a reader for the bytes that a client sends.
    pub(crate) fn after_preface() -> Self {
        Self { payload_left: PREFACE, ..Self::default() }
    }

    /// Returns the number of bytes to the end of the current frame's payload, or else of its header.
    fn remaining(&self) -> usize {
        if self.payload_left > 0 { self.payload_left } else { HEADER - self.header_len }
    }

    /// Reads the next bytes. Calls `on_event` for each event that they complete.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(FrameEvent)) {
        while !bytes.is_empty() {
            let (step, rest) = bytes.split_at(self.remaining().min(bytes.len()));
            bytes = rest;
            if self.payload_left > 0 {
                self.payload_left -= step.len();
                if let Some(payload) = &mut self.goaway {
                    let room = GOAWAY_LEN - payload.len();
                    payload.extend_from_slice(&step[..step.len().min(room)]);
                }
            } else {
                self.header[self.header_len..self.header_len + step.len()].copy_from_slice(step);
                self.header_len += step.len();
                if self.header_len < HEADER {
                    return;
                }
                let header = FrameHeader::read(&self.header);
                self.payload_left = header.length;
                self.header_len = 0;
                self.goaway = (header.frame_type == frame_type::GOAWAY).then(Vec::new);
                on_event(FrameEvent::Header(header));
            }
            if self.payload_left == 0
                && let Some(payload) = self.goaway.take()
            {
                on_event(FrameEvent::GoAway(GoAway::read(&payload)));
            }
        }
    }
}

// === impl FrameHeader ===

impl FrameHeader {
    fn read(bytes: &[u8; HEADER]) -> Self {
        let [high, middle, low, frame_type, _, stream @ ..] = *bytes;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Self { length, frame_type, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }
}

// === impl GoAway ===

impl GoAway {
    fn read(payload: &[u8]) -> Self {
        let error = payload.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
        let text = payload.get(8..).unwrap_or_default();
        let too_many_pings = error == ENHANCE_YOUR_CALM && text.starts_with(TOO_MANY_PINGS);
        Self { error, too_many_pings }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PING: u8 = 0x6;

    pub(crate) fn frame(frame_type: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], frame_type, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    }

    pub(crate) fn goaway(error: u8, text: &[u8]) -> Vec<u8> {
        frame(frame_type::GOAWAY, 0, 0, &[&[0, 0, 0, 1, 0, 0, 0, error], text].concat())
    }

    #[test]
    fn headers_in_pieces_of_any_size_are_found() {
        let stream = [
            frame(frame_type::SETTINGS, 0, 0, &[]),
            // A payload full of bytes that would read as GOAWAY headers.
            frame(frame_type::DATA, 0, 3, &[frame_type::GOAWAY; 300]),
            frame(frame_type::HEADERS, 1, 5, &[1]),
            goaway(0, b""),
            frame(PING, 1, 0, &[0; 8]),
        ]
        .concat();
        let header =
            |frame_type, stream, length| FrameEvent::Header(FrameHeader { length, frame_type, stream });
        for size in 1..stream.len() {
            let (mut frames, mut seen) = (FrameReader::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.read(piece, |on_event| seen.push(on_event));
            }
            let all = [
                header(frame_type::SETTINGS, 0, 0),
                header(frame_type::DATA, 3, 300),
                header(frame_type::HEADERS, 5, 1),
                header(frame_type::GOAWAY, 0, 8),
                FrameEvent::GoAway(GoAway { error: 0, too_many_pings: false }),
                header(PING, 0, 8),
            ];
            assert_eq!(seen, all, "in pieces of {size}");
            assert_eq!(frames.remaining(), HEADER, "it waits for the next frame");
        }
    }

    #[test]
    fn goaway_has_its_reason() {
        for (bytes, error, too_many_pings) in [
            (goaway(0xb, b"too_many_pings"), 0xb, true),
            (goaway(0xb, b"too_many_pings, and a long sermon"), 0xb, true),
            (goaway(0xb, b"too_many"), 0xb, false),
            (goaway(0x2, b"too_many_pings"), 0x2, false),
            (frame(frame_type::GOAWAY, 0, 0, b"short"), 0, false),
            (frame(frame_type::GOAWAY, 0, 0, b""), 0, false),
        ] {
            let mut seen = Vec::new();
            FrameReader::default().read(&bytes, |on_event| seen.push(on_event));
            assert_eq!(seen[1], FrameEvent::GoAway(GoAway { error, too_many_pings }), "{bytes:?}");
        }
    }
}
