//! A server that closes its connections after some calls, as nginx does after `keepalive_requests`.

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

/// Answers so many calls on a connection, and none of the later ones: those it refuses with GOAWAY and NO_ERROR.
async fn closing_after(calls: u32) -> SocketAddr {
    raw(move |mut stream| async move {
        let last = 2 * calls - 1;
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
            if id > last {
                let goaway = [last.to_be_bytes(), [0; 4]].concat();
                stream.write_all(&frame(GOAWAY, 0, 0, &goaway)).await.unwrap();
                break;
            }
            let answer = [
                frame(HEADERS, END_HEADERS, id, OK),
                frame(DATA, 0, id, EMPTY_MESSAGE),
                frame(HEADERS, END_HEADERS | END_STREAM, id, TRAILERS),
            ];
            stream.write_all(&answer.concat()).await.unwrap();
        }
        // Until the client closes.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
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
