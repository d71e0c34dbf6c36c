//! HTTP requests with a method, headers and a body, with the flags of curl and similar tools.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method},
    response::Redirect,
    routing::{any, get},
};
use tokio::net::TcpListener;

use service::testing::exit_of;

use super::{TOOL, encrypted::Localhost, hostile::speaking_http2, load, result, servers::saying};

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
async fn call_sends_the_method_headers_and_body_of_the_flags() {
    let (seen, url) = witness().await;
    for (arguments, expected) in [
        (&["-X", "DELETE"][..], ["DELETE", "", "", ""]),
        (&["-d", "{\"a\":1}", "-H", "X-Key: 1"], ["POST", "application/json", "1", "{\"a\":1}"]),
        (&["-d", "a=1", "-X", "PUT"], ["PUT", "text/plain; charset=utf-8", "", "a=1"]),
    ] {
        let arguments = [&["call", &url, "-n", "2", "--every", "0"], arguments].concat();
        let exit = exit_of(TOOL, &arguments, &[]).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        let requests = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(requests, vec![expected.map(str::to_owned); 2], "{arguments:?}");
    }
    let exit = exit_of(TOOL, &["call", "grpc://127.0.0.1:9", "-X", "PUT"], &[]).await;
    assert!(exit.code == Some(2) && exit.stderr.contains("--request; use --method"), "{exit:?}");
}

#[tokio::test]
async fn short_flags_match_other_tools() {
    let (seen, url) = witness().await;
    let result = result(&url, &["-n", "1k", "-c", "4", "-q", "20k", "-z", "60s"]).await;
    assert_eq!((&result["calls"], seen.lock().unwrap().len()), (&1000.into(), 1000));
    assert_eq!(result["rate"], 20_000.0);
}

/// Serves on a port of loopback. The remote port of a connection is known to handlers.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

#[tokio::test]
async fn redirect_is_followed_on_request() {
    let (seen, witness) = witness().await;
    let elsewhere = Redirect::temporary(&format!("{witness}c"));
    let redirects = Router::new()
        .route("/a", get(async || Redirect::to("/b?x=1")))
        .route("/b", get(async || "{\"hostname\":\"pod-b\"}"))
        .route("/loop", get(async || Redirect::to("/loop")))
        .route("/elsewhere", any(async move || elsewhere.clone()));
    let address = serve(redirects).await;

    let url = format!("http://{address}/a");
    let followed = result(&url, &["-n", "4", "-c", "1", "--location"]).await;
    assert_eq!((&followed["succeeded"], &followed["pods"][0]["name"]), (&4.into(), &"pod-b".into()));

    let moved = ["-n", "2", "-c", "1", "-L", "-d", "a=1", "-H", "x-key: 1"];
    let moved = result(&format!("http://{address}/elsewhere"), &moved).await;
    assert_eq!((&moved["succeeded"], &moved["pods"][0]["name"]), (&2.into(), &"pod-a".into()));
    let requests = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(requests, vec![["POST", "text/plain; charset=utf-8", "1", "a=1"].map(str::to_owned); 2]);

    for (path, arguments, words) in
        [("loop", &["-L"][..], "more than 10 redirects"), ("a", &[], "follow it with --location")]
    {
        let exit = load(&format!("http://{address}/{path}"), &[&["-n", "1"], arguments].concat()).await;
        assert_eq!(exit.code, Some(3), "{exit:?}");
        assert!(exit.stderr.contains(words), "{exit:?}");
    }
}

#[tokio::test]
async fn connection_is_kept_unless_that_is_off() {
    let from =
        async |ConnectInfo(from): ConnectInfo<SocketAddr>| format!("{{\"hostname\":\"{}\"}}", from.port());
    let url = format!("http://{}/", serve(Router::new().route("/", get(from))).await);
    for (arguments, connections) in [(&[][..], 1), (&["--disable-keepalive"], 12)] {
        let result = result(&url, &[&["-n", "12", "-c", "1"], arguments].concat()).await;
        assert_eq!(result["succeeded"], 12, "{result}");
        assert_eq!(result["pods"].as_array().unwrap().len(), connections, "{arguments:?}: {result}");
    }
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge_and_by_alpn() {
    let answer = async |request: Request| {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        format!("{{\"hostname\":\"{:?} {authority}\"}}", request.version())
    };
    let plain = speaking_http2(Router::new().route("/", get(answer))).await;
    let localhost = Localhost::new();
    let (encrypted, ca) = (localhost.before(plain).await, localhost.ca());
    for (url, arguments, authority) in [
        (format!("http://{plain}/"), &[][..], plain.to_string()),
        (format!("https://localhost:{encrypted}/"), &["--ca", &ca], format!("localhost:{encrypted}")),
    ] {
        let result = result(&url, &[&["-n", "8", "-c", "2", "--http2"], arguments].concat()).await;
        assert_eq!(result["succeeded"], 8, "{result}");
        assert_eq!(result["pods"][0]["name"], format!("HTTP/2.0 {authority}"), "{result}");
    }
    // Without it the server, which speaks HTTP/2 alone, is not understood; nor is another server with it.
    let exit = load(&format!("http://{plain}/"), &["-n", "1"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    let http1 = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let exit = load(&format!("http://{http1}/"), &["-n", "1", "--http2", "--timeout", "2s"]).await;
    assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{exit:?}");

    let exit = load("grpc://127.0.0.1:9", &["--http2"]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
}

#[tokio::test]
async fn wrong_method_or_format_is_exit_code_2() {
    for arguments in [["-X", "not a method"], ["-o", "yaml"], ["-d", "@/nowhere"]] {
        let exit = load("http://127.0.0.1:9/", &arguments).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(2), ""), "{arguments:?}: {exit:?}");
    }
}
