//! Any bytes give the same frames, in pieces of any size.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "balanced-channel uses the rest")]
#[path = "../../balanced-channel/src/transport/sniffer/frame_reader.rs"]
mod frame_reader;

use frame_reader::{FrameEvent, FrameReader};

// The first byte is the number of sizes that follow; the rest is the stream.
fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let (sizes, bytes) = rest.split_at(usize::from(*count).min(rest.len()));
    for reader in [FrameReader::default, FrameReader::after_preface] {
        let whole = events(reader(), [bytes]);
        assert_eq!(events(reader(), bytes.chunks(1)), whole);
        assert_eq!(events(reader(), cut(bytes, sizes)), whole);
    }
});

fn events<'a>(mut reader: FrameReader, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<FrameEvent> {
    let mut events = Vec::new();
    pieces.into_iter().for_each(|piece| reader.read(piece, |event| events.push(event)));
    events
}

/// Cuts `bytes` into pieces of these sizes, repeating the list of sizes.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take(bytes.len()) {
        let (piece, rest) = bytes.split_at(usize::from(*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}
