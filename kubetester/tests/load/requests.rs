//! HTTP requests with a method, headers and a body, with the flags of curl and similar tools.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method},
};
use tokio::net::TcpListener;

use super::{load, result};

/// The requests received so far, each as method, `content-type`, the header `x-key`, and body.
type Seen = Arc<Mutex<Vec<[String; 4]>>>;

async fn witness() -> (Seen, String) {
    let seen = Seen::default();
    let note = |State(seen): State<Seen>, method: Method, headers: HeaderMap, body: String| async move {
        let header =
            |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        seen.lock().unwrap().push([method.to_string(), header("content-type"), header("x-key"), body]);
        "{\"hostname\":\"pod-a\"}"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(note).with_state(seen.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    (seen, url)
}

#[tokio::test]
async fn request_has_the_method_headers_and_body_of_the_flags() {
    let (seen, url) = witness().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from a file").unwrap();
    let from_file = format!("@{}", file.path().display());
    for (arguments, expected) in [
        (&[][..], ["GET", "", "", ""]),
        (&["-H", "X-Key: 1"], ["GET", "", "1", ""]),
        (&["-X", "DELETE"], ["DELETE", "", "", ""]),
        (&["-d", "{\"a\":1}"], ["POST", "application/json", "", "{\"a\":1}"]),
        (&["--data", "a=1", "-X", "PUT"], ["PUT", "text/plain; charset=utf-8", "", "a=1"]),
        (&["-d", &from_file, "-H", "content-type: text/x"], ["POST", "text/x", "", "from a file"]),
    ] {
        let result = result(&url, &[&["-n", "3", "-c", "1"], arguments].concat()).await;
        assert_eq!((&result["succeeded"], &result["pods"][0]["name"]), (&3.into(), &"pod-a".into()));
        let requests = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(requests, vec![expected.map(str::to_owned); 3], "{arguments:?}");
    }
}

#[tokio::test]
async fn short_flags_match_other_tools() {
    let (seen, url) = witness().await;
    let result = result(&url, &["-n", "1k", "-c", "4", "-q", "20k", "-z", "60s"]).await;
    assert_eq!((&result["calls"], seen.lock().unwrap().len()), (&1000.into(), 1000));
    assert_eq!(result["rate"], 20_000.0);
}

#[tokio::test]
async fn wrong_method_or_format_is_exit_code_2() {
    for arguments in [["-X", "not a method"], ["-o", "yaml"], ["-d", "@/nowhere"]] {
        let exit = load("http://127.0.0.1:9/", &arguments).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(2), ""), "{arguments:?}: {exit:?}");
    }
}
