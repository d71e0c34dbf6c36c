//! Lines of a watch come in chunks that are cut anywhere: in a word, in a letter, between lines.

use super::*;

/// Two pods come, and one of them has a name that is not ASCII.
fn lines() -> Vec<u8> {
    let second = added(9, "b", "10.0.0.2").replace("EndpointSlice", "EndpointSlice\",\"é\":\"ü");
    (added(8, "a", "10.0.0.1") + &second).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn wherever_a_chunk_ends_what_is_whole_is_published_at_once_and_nothing_is_lost() {
    let lines = lines();
    let first = lines.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in 1..lines.len() {
        let (server, resolutions, _task) = follow();
        passes(1).await;
        let (one, rest) = lines.split_at(cut);
        server.say(one);
        passes(1).await;
        assert_eq!(count(&resolutions), Some(usize::from(cut > first)), "cut after {cut} bytes");
        server.say(rest);
        passes(1).await;
        assert_eq!(count(&resolutions), Some(2), "cut after {cut} bytes");
        assert_eq!(server.pauses("list").len(), 0, "cut after {cut} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_may_come_byte_by_byte() {
    let (server, resolutions, _task) = follow();
    passes(1).await;
    for byte in lines() {
        server.say([byte]);
        tokio::task::yield_now().await;
    }
    passes(1).await;
    assert_eq!(count(&resolutions), Some(2));
}
