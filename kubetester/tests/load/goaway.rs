//! Servers that end connections with GOAWAY, as nginx does after `keepalive_requests`, or streams with RST_STREAM.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{hostile::SETTINGS, result, servers::raw};

/// The client's connection preface (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The header of a frame.
const HEADER: usize = 9;

/// The types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` and `content-type: application/grpc` (RFC 7541).
const OK: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// `grpc-status: 0`
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";
/// The frame of gRPC for an empty message.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers the headers of each stream with what `respond` returns for its ID: the bytes, and whether they are the last.
async fn responding(respond: impl Fn(u32) -> (Vec<u8>, bool) + Clone + Send + Sync + 'static) -> SocketAddr {
    raw(move |mut stream| {
        let respond = respond.clone();
        async move {
            stream.read_exact(&mut [0; PREFACE]).await.unwrap();
            stream.write_all(SETTINGS).await.unwrap();
            let mut header = [0; HEADER];
            while stream.read_exact(&mut header).await.is_ok() {
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                let (kind, id) = (header[3], u32::from_be_bytes(header[5..].try_into().unwrap()));
                if kind != HEADERS {
                    continue;
                }
                let (response, last) = respond(id);
                stream.write_all(&response).await.unwrap();
                if last {
                    break;
                }
            }
            // Until the client closes.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        }
    })
    .await
}

/// A response with an empty message.
fn ok(id: u32) -> Vec<u8> {
    let frames = [
        frame(HEADERS, END_HEADERS, id, OK),
        frame(DATA, 0, id, EMPTY_MESSAGE),
        frame(HEADERS, END_HEADERS | END_STREAM, id, TRAILERS),
    ];
    frames.concat()
}

/// Answers so many calls on a connection, and none of the later ones: those it refuses with GOAWAY and NO_ERROR.
async fn closing_after(calls: u32) -> SocketAddr {
    let last = 2 * calls - 1;
    responding(move |id| {
        if id > last {
            let goaway = [last.to_be_bytes(), [0; 4]].concat();
            return (frame(GOAWAY, 0, 0, &goaway), true);
        }
        (ok(id), false)
    })
    .await
}

#[tokio::test]
async fn goaway_is_named_with_its_reason_and_calls_go_on() {
    let server = closing_after(100).await;
    let result = result(&format!("grpc://{server}"), &["-n", "350", "-c", "4"]).await;
    assert!(result["succeeded"].as_u64() >= Some(300), "{result}");
    let errors = result["errors"].as_array().unwrap();
    let causes: Vec<_> = errors.iter().map(|error| error["cause"].as_str().unwrap()).collect();
    let goaway = "the server closed the HTTP/2 connection with GOAWAY NO_ERROR";
    assert!(causes.iter().any(|cause| cause.ends_with(goaway)), "{causes:?}");
    assert!(causes.iter().all(|cause| !cause.contains("is it a gRPC port")), "{causes:?}");
}

#[tokio::test]
async fn stream_that_is_reset_is_named_with_its_code() {
    for (code, name) in [(2_u32, "INTERNAL_ERROR"), (11, "ENHANCE_YOUR_CALM"), (0xbeef, "code 48879")] {
        // All but the first stream of a connection are reset.
        let respond = move |id| if id == 1 { ok(id) } else { frame(RST_STREAM, 0, id, &code.to_be_bytes()) };
        let server = responding(move |id| (respond(id), false)).await;
        for target in [format!("grpc://{server}"), format!("ipv4:{server}")] {
            let result = result(&target, &["-n", "8", "-c", "2"]).await;
            let errors = result["errors"].as_array().unwrap();
            let reset = format!("RST_STREAM {name}");
            for error in errors {
                assert!(error["cause"].as_str().unwrap().contains(&reset), "{target}: {error}");
            }
            assert_eq!(result["failed"], 7, "{result}");
        }
    }
}
