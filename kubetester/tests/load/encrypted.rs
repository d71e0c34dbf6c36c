//! TLS: https://, grpcs:// and balanced targets, and what is said when it does not come about.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use service::{Identity, Instance, Shutdown, defaults};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    },
};

use super::{load, result, servers::Draws};

/// A certificate for `localhost`, and the file that makes it trusted.
struct Localhost {
    acceptor: TlsAcceptor,
    folder: TempDir,
}

impl Localhost {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { acceptor: Arc::new(config).into(), folder }
    }

    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// Speaks TLS on a port and plainly with `server`.
    async fn before(&self, server: SocketAddr) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us, or speaks no TLS, ends here.
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
async fn each_kind_of_target_speaks_tls() {
    let localhost = Localhost::new();
    let http = localhost.before(draws().await).await;
    let grpc = localhost.before(hellogrpc().await).await;
    let balanced = format!("ipv4:127.0.0.1:{grpc}");
    let ca = localhost.ca();
    for (target, arguments) in [
        (format!("https://localhost:{http}/"), &["--ca", &ca][..]),
        (format!("https://127.0.0.1:{http}/"), &["--ca", &ca, "--server-name", "localhost"]),
        (format!("grpcs://localhost:{grpc}"), &["--ca", &ca]),
        (balanced, &["--ca", &ca, "--server-name", "localhost"]),
    ] {
        let result = result(&target, &[&["-n", "20", "-c", "2"], arguments].concat()).await;
        assert_eq!((&result["succeeded"], &result["balance"]["pods"]), (&20.into(), &1.into()), "{target}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_a_sentence() {
    let localhost = Localhost::new();
    let other = Localhost::new();
    let plain = draws().await;
    let http = localhost.before(plain).await;
    let (ca, wrong) = (localhost.ca(), other.ca());
    for (target, ca, words) in [
        (format!("https://localhost:{http}/"), &wrong, "trust it with --ca"),
        (format!("grpcs://localhost:{http}"), &wrong, "trust it with --ca"),
        (format!("https://127.0.0.1:{http}/"), &ca, "shows a certificate that does not do"),
        (format!("https://localhost:{}/", plain.port()), &ca, "does not speak TLS"),
        (format!("grpcs://localhost:{}", plain.port()), &ca, "does not speak TLS"),
    ] {
        let exit = load(&target, &["-n", "2", "--ca", ca]).await;
        assert_eq!(exit.code, Some(3), "{target}: {exit:?}");
        assert!(exit.stderr.contains(words) && exit.stderr.lines().count() == 1, "{target}: {}", exit.stderr);
    }
    let exit = load(&format!("http://localhost:{http}/"), &["-n", "2", "-c", "1", "--timeout", "1s"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
}

#[tokio::test]
async fn options_that_do_not_fit_are_bad_usage() {
    for (target, arguments, words) in [
        ("https://localhost:1/", &["--ca", "/nowhere.pem"][..], "/nowhere.pem cannot be used"),
        ("https://localhost:1/", &["--cert", "/nowhere.pem"], "--key"),
        ("http://localhost:1/", &["--ca", "/nowhere.pem"], "write https://"),
        ("grpc://localhost:1", &["--tls"], "write https:// or grpcs://"),
        ("dns:///localhost:1", &["--ca", "/nowhere.pem"], "/nowhere.pem"),
    ] {
        let exit = load(target, arguments).await;
        assert_eq!(exit.code, Some(2), "{target} {arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{target} {arguments:?}: {}", exit.stderr);
    }
}
