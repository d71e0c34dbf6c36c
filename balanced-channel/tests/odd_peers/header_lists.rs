//! Responses with headers or trailers above the limit.

use balanced_channel::Channel;
use tonic::Code;

use super::scripted_server::{MESSAGE, ScriptedResponse, ScriptedServer, unary};

/// Starts a server that sends `large` as the first response, and small messages from then on.
async fn first(large: ScriptedResponse) -> ScriptedServer {
    ScriptedServer::start(move |number| if number == 0 { large } else { ScriptedResponse::Message(Code::Ok) })
        .await
}

#[tokio::test]
async fn response_above_the_limit_of_a_header_list_is_resource_exhausted() {
    for (large, part) in [
        (ScriptedResponse::LargeHeaders(17, 1000), "headers"),
        // h2 itself rejects these: one large field, and many fields.
        (ScriptedResponse::LargeHeaders(1, 200_000), "headers"),
        (ScriptedResponse::LargeHeaders(200, 1000), "headers"),
        (ScriptedResponse::LargeTrailers(17, 1000), "trailers"),
        // h2 truncates these without an error: after the status, and after many fields.
        (ScriptedResponse::LargeTrailers(1, 200_000), "trailers"),
        (ScriptedResponse::LargeTrailers(200, 1000), "trailers"),
        (ScriptedResponse::LargeTrailers(1, 140_000), "trailers"),
        // h2 closes the connection for this one.
        (ScriptedResponse::LargeTrailers(1, 900_000), "trailers"),
    ] {
        let server = first(large).await;
        let channel = Channel::new(format!("ipv4:{}", server.address)).unwrap();
        let got = unary(&channel).await;
        assert_eq!(got.code, Code::ResourceExhausted, "{large:?}: {got:?}");
        for words in [part, "larger than 16384 bytes", "Builder::max_header_list_size"] {
            assert!(got.message.contains(words), "{large:?}: {}", got.message);
        }
        assert_eq!(unary(&channel).await.code, Code::Ok, "{large:?}: later calls");
    }
}

#[tokio::test]
async fn header_lists_within_the_limit_arrive_complete() {
    for (limit, count) in [(None, 15), (Some(256 << 10), 200)] {
        for large in
            [ScriptedResponse::LargeHeaders(count, 1000), ScriptedResponse::LargeTrailers(count, 1000)]
        {
            let server = first(large).await;
            let mut builder = Channel::builder(format!("ipv4:{}", server.address));
            if let Some(limit) = limit {
                builder = builder.max_header_list_size(limit);
            }
            let got = unary(&builder.build().unwrap()).await;
            assert_eq!(got.code, Code::Ok, "{large:?}: {}", got.message);
            let fields =
                got.headers.iter().chain(&got.trailers).filter(|(name, _)| name.as_str().starts_with("x-"));
            assert_eq!(fields.count(), count, "{large:?}");
            let body = if got.trailers.is_empty() { &b""[..] } else { MESSAGE };
            assert_eq!(got.body, body, "{large:?}");
        }
    }
}
