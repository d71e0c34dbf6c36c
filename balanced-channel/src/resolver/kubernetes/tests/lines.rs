//! Tests of watches whose chunks end anywhere: inside a line, inside a character, between lines.

use super::*;

/// Returns the events of two pods. The name of one is not ASCII.
fn lines() -> Vec<u8> {
    let second = added(9, "b", "10.0.0.2").replace("EndpointSlice", "EndpointSlice\",\"é\":\"ü");
    (added(8, "a", "10.0.0.1") + &second).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn complete_lines_are_published_for_any_chunk_boundary() {
    let lines = lines();
    let first = lines.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in 1..lines.len() {
        let (server, resolutions, _task) = start();
        advance(1).await;
        let (head, rest) = lines.split_at(cut);
        server.send(head);
        advance(1).await;
        assert_eq!(count(&resolutions), Some(usize::from(cut > first)), "cut after {cut} bytes");
        server.send(rest);
        advance(1).await;
        assert_eq!(count(&resolutions), Some(2), "cut after {cut} bytes");
        assert_eq!(server.pauses("list").len(), 0, "cut after {cut} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_come_byte_by_byte_are_published() {
    let (server, resolutions, _task) = start();
    advance(1).await;
    for byte in lines() {
        server.send([byte]);
        tokio::task::yield_now().await;
    }
    advance(1).await;
    assert_eq!(count(&resolutions), Some(2));
}
