//! TLS: https://, grpcs:// and balanced targets, and the errors of failed handshakes.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair, generate_simple_self_signed};
use service::{Identity, Instance, Shutdown, defaults};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

use super::{load, result, servers::Draws};

/// A certificate for `localhost`, and the CA file that makes clients trust it.
pub(super) struct Localhost {
    acceptor: TlsAcceptor,
    folder: TempDir,
}

impl Localhost {
    pub(super) fn new() -> Self {
        Self::with(false)
    }

    /// Creates a certificate for a server that requires client certificates. It accepts its own certificate.
    fn knowing_its_clients() -> Self {
        Self::with(true)
    }

    /// A certificate as `openssl req -x509` makes it: it has signed itself, and is marked as that of a CA.
    fn marked_as_ca(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        Self::showing(CertifiedKey { cert, signing_key }, false)
    }

    fn with(known: bool) -> Self {
        Self::showing(generate_simple_self_signed(["localhost".to_owned()]).unwrap(), known)
    }

    fn showing(CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair>, known: bool) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = if known {
            let mut roots = RootCertStore::empty();
            roots.add(cert.der().clone()).unwrap();
            let ring = Arc::new(ring::default_provider());
            config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring).build().unwrap(),
            )
        } else {
            config.with_no_client_auth()
        };
        let mut config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { acceptor: Arc::new(config).into(), folder }
    }

    pub(super) fn ca(&self) -> String {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Speaks TLS on a port and plainly with `server`.
    pub(super) async fn before(&self, server: SocketAddr) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // The handshake fails for clients that do not trust the certificate or do not use TLS.
                    let Ok(mut client) = acceptor.accept(connection).await else { return };
                    let mut server = TcpStream::connect(server).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        port
    }
}

async fn hellogrpc() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity { version: "v1-hellogrpc".into(), hostname: "hellogrpc-1".into() };
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(async move {
        let _trigger = trigger;
        hellogrpc::serve(defaults(), listener, Instance::new(identity, shutdown)).await
    });
    address
}

async fn draws() -> SocketAddr {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
}

#[tokio::test]
async fn each_kind_of_target_uses_tls() {
    let localhost = Localhost::new();
    let http = localhost.before(draws().await).await;
    let grpc = localhost.before(hellogrpc().await).await;
    let balanced = format!("ipv4:127.0.0.1:{grpc}");
    let ca = localhost.ca();
    for (target, arguments) in [
        (format!("https://localhost:{http}/"), &["--ca", &ca][..]),
        (format!("https://127.0.0.1:{http}/"), &["--ca", &ca, "--server-name", "localhost"]),
        (format!("grpcs://localhost:{grpc}"), &["--ca", &ca]),
        (balanced.clone(), &["--ca", &ca, "--server-name", "localhost"]),
        (format!("https://127.0.0.1:{http}/"), &["--insecure"]),
        (format!("grpcs://127.0.0.1:{grpc}"), &["--insecure"]),
        (balanced, &["--insecure"]),
    ] {
        let result = result(&target, &[&["-n", "20", "-c", "2"], arguments].concat()).await;
        assert_eq!((&result["succeeded"], &result["balance"]["pods"]), (&20.into(), &1.into()), "{target}");
    }
}

#[tokio::test]
async fn failed_handshake_is_one_sentence() {
    let localhost = Localhost::new();
    let other = Localhost::new();
    let plain = draws().await;
    let http = localhost.before(plain).await;
    let grpc = localhost.before(hellogrpc().await).await;
    let (ca, wrong) = (localhost.ca(), other.ca());
    let (port, trusted, mistrusted) = (plain.port(), ["--ca", &ca], ["--ca", &wrong]);
    let named = ["--server-name", "localhost"];
    let other_name = "the certificate is for localhost, not for 127.0.0.1; to expect another name, write --server-name NAME";
    for (target, arguments, words) in [
        (format!("https://localhost:{http}/"), &mistrusted[..], "unknown issuer; trust it with --ca"),
        (format!("grpcs://localhost:{grpc}"), &mistrusted, "unknown issuer; trust it with --ca"),
        (
            format!("ipv4:127.0.0.1:{grpc}"),
            &[&mistrusted[..], &named].concat(),
            "unknown issuer; trust it with --ca",
        ),
        (format!("https://127.0.0.1:{http}/"), &trusted, other_name),
        (format!("grpcs://127.0.0.1:{grpc}"), &trusted, other_name),
        (format!("ipv4:127.0.0.1:{grpc}"), &trusted, other_name),
        (format!("https://localhost:{port}/"), &trusted, "does not speak TLS"),
        (format!("grpcs://localhost:{port}"), &trusted, "does not speak TLS"),
        (format!("ipv4:127.0.0.1:{port}"), &["--insecure"], "does not speak TLS"),
        // A TLS server answers a plain request with an alert, which is not HTTP.
        (format!("http://localhost:{http}/"), &[], "does it speak TLS or HTTP/2?"),
        (format!("grpc://localhost:{grpc}"), &[], "gRPC "),
        (format!("ipv4:127.0.0.1:{grpc}"), &[], "cannot reach ipv4:127.0.0.1:"),
    ] {
        let exit = load(&target, &[&["-n", "2", "-c", "1", "--timeout", "2s"], arguments].concat()).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.contains(words) && exit.stderr.lines().count() == 1, "{target}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn certificate_that_signed_itself_is_trusted_if_it_is_the_ca_file() {
    let localhost = Localhost::marked_as_ca(&["localhost"]);
    let http = localhost.before(draws().await).await;
    let grpc = localhost.before(hellogrpc().await).await;
    let ca = localhost.ca();
    let balanced = format!("ipv4:127.0.0.1:{grpc}");
    let named = ["--ca", &ca, "--server-name", "localhost"];
    for (target, arguments) in [
        (format!("https://localhost:{http}/"), &named[..2]),
        (format!("grpcs://localhost:{grpc}"), &named[..2]),
        (balanced.clone(), &named),
    ] {
        let result = result(&target, &[&["-n", "20", "-c", "2"], arguments].concat()).await;
        assert_eq!(result["succeeded"], 20, "{target}");
    }

    let (unnamed, stranger) = (Localhost::marked_as_ca(&[]), Localhost::new());
    let without = unnamed.before(draws().await).await;
    let (nameless, other) = (unnamed.ca(), stranger.ca());
    let remedy = "make one with openssl req -addext subjectAltName=DNS:localhost";
    let not_in_file = "is not itself in the CA file; put it there, or make one with openssl req";
    for (target, arguments, words) in [
        (format!("https://localhost:{without}/"), &["--ca", &nameless][..], remedy),
        (format!("https://localhost:{http}/"), &["--ca", &other], not_in_file),
        (balanced, &["--ca", &other, "--server-name", "localhost"], not_in_file),
    ] {
        let exit = load(&target, &[&["-n", "2", "-c", "1", "--timeout", "2s"], arguments].concat()).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.contains(words) && exit.stderr.lines().count() == 1, "{target}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn client_certificate_is_sent_on_request() {
    let localhost = Localhost::knowing_its_clients();
    let http = localhost.before(draws().await).await;
    let grpc = localhost.before(hellogrpc().await).await;
    let (cert, key) = (localhost.file("ca.pem"), localhost.file("key.pem"));
    for target in [
        format!("https://localhost:{http}/"),
        format!("grpcs://localhost:{grpc}"),
        format!("ipv4:127.0.0.1:{grpc}"),
    ] {
        let known = [
            "-n",
            "4",
            "-c",
            "2",
            "--ca",
            &cert,
            "--server-name",
            "localhost",
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        let result = result(&target, &known).await;
        assert_eq!(result["succeeded"], 4, "{target}");
        let exit = load(&target, &known[..8]).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.lines().count() == 1, "{target}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn mismatched_tls_flags_are_bad_usage() {
    for (target, arguments, words) in [
        ("https://localhost:1/", &["--ca", "/nowhere.pem"][..], "/nowhere.pem cannot be used"),
        ("https://localhost:1/", &["--cert", "/nowhere.pem"], "--key"),
        ("http://localhost:1/", &["--ca", "/nowhere.pem"], "write https://"),
        ("grpc://localhost:1", &["--insecure"], "write https:// or grpcs://"),
        ("https://localhost:1/", &["--insecure", "--ca", "/nowhere.pem"], "cannot be used with"),
        ("grpc://localhost:1", &["--tls"], "write https:// or grpcs://"),
        ("dns:///localhost:1", &["--ca", "/nowhere.pem"], "/nowhere.pem"),
    ] {
        let exit = load(target, arguments).await;
        assert_eq!(exit.code, Some(2), "{target} {arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{target} {arguments:?}: {}", exit.stderr);
    }
}
