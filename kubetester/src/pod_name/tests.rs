//! Names of pods in responses.

use super::*;

fn find(from: &str, body: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    headers.insert("x-pod", "header-1".parse().unwrap());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-node", "trailer-1".parse().unwrap());
    let peer = Some(([10, 1, 2, 3], 8000).into());
    let parts = ResponseParts { headers: &headers, trailers: Some(&trailers), body: body.as_bytes(), peer };
    from.parse::<PodFrom>().unwrap().find(parts)
}

#[test]
fn known_answers_name_their_pod() {
    for (body, pod) in [
        (r#"{"name":"Ann","version":"v1","hostname":"gw","response":{"hostname":"pod-1"}}"#, Some("pod-1")),
        (r#"{"name":"","version":"v1-hellohttp","hostname":"pod-2"}"#, Some("pod-2")),
        (r#"{"hostname":"podinfo-59c8-abcde","version":"6.7.1","color":"blue"}"#, Some("podinfo-59c8-abcde")),
        (r#"{"name":"web","ip_addresses":["10.42.0.17"],"body":"Hello"}"#, Some("10.42.0.17")),
        (r#"{"name":"web","ip_addresses":["10.42.0.17","fd00::1"]}"#, None),
        ("Hostname: whoami-5d9c\r\nIP: 127.0.0.1\r\n", Some("whoami-5d9c")),
        (r#"{"message":"Hi","serverID":"echo-1"}"#, Some("echo-1")),
        (r#"{"message":"Hello Ann  from hostname echo-2"}"#, Some("echo-2")),
        ("Hello Ann from hostname echo-3\n", Some("echo-3")),
        (r#"{"hostname":"gw","response":{}}"#, None),
        ("<html>", None),
        ("", None),
        (r#"["hostname"]"#, None),
    ] {
        assert_eq!(find("known", body).as_deref(), pod, "{body}");
    }
}

#[test]
fn first_success_decides_where_names_are_from() {
    let (mut named, bare) = (HeaderMap::new(), HeaderMap::new());
    named.insert("hostname", "pod-1".parse().unwrap());
    let peer = Some(([10, 1, 2, 3], 8000).into());
    let pod = |name: &str, source| Some(Pod { name: name.to_owned(), source });
    let (body, none) = (|| Some("b".to_owned()), || None);

    let known = KnownPlaces::new(true);
    assert_eq!(known.find(false, none, &named, peer), None, "an error does not decide");
    assert!(known.wants_peer() && known.source().is_none());
    assert_eq!(known.find(true, none, &named, peer), pod("pod-1", PodSource::Header));
    assert_eq!(known.find(true, body, &named, peer), pod("pod-1", PodSource::Header));
    assert_eq!(known.find(false, none, &bare, peer), None, "no second name for one pod");
    assert!(!known.wants_peer());

    let known = KnownPlaces::new(true);
    assert_eq!(known.find(true, none, &bare, peer), pod("10.1.2.3:8000", PodSource::Peer));
    assert_eq!(known.find(false, none, &named, peer), pod("10.1.2.3:8000", PodSource::Peer));
    let proxied = KnownPlaces::new(false);
    assert_eq!(proxied.find(true, none, &bare, peer), None);
    assert_eq!(proxied.find(true, body, &named, peer), pod("b", PodSource::Body));
}

#[test]
fn configured_place_names_the_pod() {
    for (from, pod) in [
        ("/pods/0/name", Some("p")),
        ("/pods/1/name", None),
        ("/n", Some("7")),
        ("header:X-Pod", Some("header-1")),
        ("header:x-node", Some("trailer-1")),
        ("header:absent", None),
        (r#"regex:"name":"(\w)"#, Some("p")),
        ("regex:pods", Some("pods")),
        ("regex:absent", None),
        ("peer", Some("10.1.2.3:8000")),
    ] {
        assert_eq!(find(from, r#"{"pods":[{"name":"p"}],"n":7}"#).as_deref(), pod, "{from}");
    }
}

#[test]
fn invalid_place_error_lists_the_valid_ones() {
    for wrong in ["", "hostname", "header:a b", "header:", "regex:(", "body:/x"] {
        let sentence = wrong.parse::<PodFrom>().unwrap_err().to_string();
        assert!(sentence.contains("header:NAME"), "{sentence}");
    }
}
