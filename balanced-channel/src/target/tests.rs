use super::*;

fn resolver_target(text: &str) -> ResolverTarget {
    text.parse::<Target>().unwrap_or_else(|error| panic!("{error}")).resolver_target
}

fn dns(host: &str, port: u16) -> ResolverTarget {
    ResolverTarget::Dns { server: None, host: host.into(), port }
}

#[test]
fn host_name_is_a_dns_target() {
    assert_eq!(resolver_target("dns:///grpc-svc:8000"), dns("grpc-svc", 8000));
    assert_eq!(resolver_target("dns:grpc-svc:8000"), dns("grpc-svc", 8000));
    assert_eq!(resolver_target("grpc-svc:8000"), dns("grpc-svc", 8000));
    assert_eq!(resolver_target("http://grpc-svc:8000"), dns("grpc-svc", 8000));
    assert_eq!(resolver_target("http://grpc-svc/"), dns("grpc-svc", 80));
    assert_eq!(resolver_target("dns:///grpc-svc"), dns("grpc-svc", 443));
    assert_eq!(resolver_target("dns:///a.b.svc.cluster.local.:1"), dns("a.b.svc.cluster.local.", 1));
}

#[test]
fn authority_of_a_dns_target_is_the_dns_server() {
    for (text, server) in [
        ("dns://127.0.0.1:5353/svc:80", "127.0.0.1:5353"),
        ("dns://10.0.0.10/svc:80", "10.0.0.10:53"),
        ("dns://[::1]:5353/svc:80", "[::1]:5353"),
    ] {
        let expected =
            ResolverTarget::Dns { server: Some(server.parse().unwrap()), host: "svc".into(), port: 80 };
        assert_eq!(resolver_target(text), expected);
    }
}

#[test]
fn ip_address_is_a_fixed_target() {
    let fixed = |list: &[&str]| ResolverTarget::Fixed(list.iter().map(|a| a.parse().unwrap()).collect());
    assert_eq!(resolver_target("ipv4:10.0.0.1:80,10.0.0.2:81"), fixed(&["10.0.0.1:80", "10.0.0.2:81"]));
    assert_eq!(resolver_target("ipv6:[::1]:80,[fd00::2]:81"), fixed(&["[::1]:80", "[fd00::2]:81"]));
    assert_eq!(resolver_target("10.0.0.1:80"), fixed(&["10.0.0.1:80"]));
    assert_eq!(resolver_target("dns:///[::1]:80"), fixed(&["[::1]:80"]));
    assert_eq!(resolver_target("ipv4:10.0.0.1"), fixed(&["10.0.0.1:443"]));
}

#[test]
fn authority_is_the_host_and_port_of_the_target() {
    for (text, authority) in [
        ("dns:///grpc-svc:8000", "grpc-svc:8000"),
        ("dns:///grpc-svc.:8000", "grpc-svc:8000"),
        ("dns://10.0.0.10/svc:80", "svc:80"),
        ("ipv6:[::1]:80,[::2]:80", "[::1]:80"),
    ] {
        assert_eq!(text.parse::<Target>().unwrap().authority(), authority);
    }
}

#[test]
fn target_without_a_scheme_is_dns() {
    for text in ["grpc-svc:8000", "grpc-svc", "10.0.0.1:80", "[::1]:80", "[::1]"] {
        assert_eq!(text.parse::<Target>().unwrap().canonical(), format!("dns:///{text}"));
    }
    for text in ["dns:///svc:80", "dns:svc:80", "dns://[::1]:53/svc", "ipv4:10.0.0.1:80", "http://svc"] {
        assert_eq!(text.parse::<Target>().unwrap().canonical(), text);
    }
}

#[test]
fn invalid_target_has_an_error_that_states_the_problem() {
    for (text, reason) in [
        ("", "is empty"),
        ("dns:///", "has no host"),
        ("dns://host:80", "has no host"),
        ("dns:///:80", "has no host"),
        ("dns:///svc:0", "the port \"0\""),
        ("dns:///svc:", "the port \"\""),
        ("dns:///svc:+80", "the port \"+80\""),
        ("dns:///svc:65536", "the port \"65536\""),
        ("dns:///a b:80", "not a DNS name"),
        ("dns:///a..b:80", "not a DNS name"),
        ("dns:///::1:80", "without brackets"),
        ("dns:///[::1]x:80", "after the address"),
        ("dns:///[zz]:80", "not an IPv6 address"),
        ("dns://kube-dns/svc:80", "not an IP address"),
        ("ipv4:10.0.0.1:80,", "has no host"),
        ("ipv4:[::1]:80", "not an address of its scheme"),
        ("ipv6:10.0.0.1:80", "not an address of its scheme"),
        ("xds:///svc", "unknown scheme \"xds\""),
        ("svc:http", "the port \"http\""),
    ] {
        let error = text.parse::<Target>().expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
        assert!(error.starts_with(&format!("target \"{text}\" ")), "{error}");
    }
}
