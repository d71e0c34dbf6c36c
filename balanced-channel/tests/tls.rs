//! TLS: trusted certificates, client certificates, and certificates that change while a channel is in use.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::{fs, net::SocketAddr, path::PathBuf};

use backend::{call, fails, ready};
use balanced_channel::{BuildError, Builder, Channel, Tls};
use proto::hello::{
    Greeting, Introduction,
    hello_server::{Hello, HelloServer},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// A certificate authority, and a directory for its certificates.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

struct Greeter;

#[tonic::async_trait]
impl Hello for Greeter {
    async fn say_hello(&self, _: Request<Greeting>) -> Result<Response<Introduction>, Status> {
        Ok(Response::new(Introduction { hostname: "secure".into(), ..Default::default() }))
    }
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: TempDir::new().unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns a certificate for a host and its key, as PEM.
    fn issue(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.pem())
    }
}

/// Starts a server with a certificate of `ca` for `host`. With `clients`, it requests a client certificate of that CA.
async fn serve(ca: &Ca, host: &str, clients: Option<&Ca>) -> SocketAddr {
    let (certificate, key) = ca.issue(host);
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if let Some(clients) = clients {
        tls = tls.client_ca_root(Certificate::from_pem(clients.pem()));
    }
    serve_as(tls).await
}

async fn serve_as(tls: ServerTlsConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().tls_config(tls).unwrap().add_service(HelloServer::new(Greeter));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// Returns the builder of a channel to `address` with the authority `pods.test`.
fn to(address: SocketAddr) -> Builder {
    Channel::builder(format!("ipv4:{address}")).authority("pods.test:443".parse().unwrap())
}

#[tokio::test]
async fn server_with_a_certificate_for_the_target_is_used() {
    let ca = Ca::new();
    let address = serve(&ca, "pods.test", None).await;
    let channel = to(address).tls(Tls::new().ca_file(ca.file())).unwrap().build().unwrap();
    assert_eq!(call(&channel, "").await.unwrap(), "secure");
}

#[tokio::test]
async fn server_with_another_name_or_issuer_is_rejected() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    for (address, why) in [
        (serve(&ca, "other.test", None).await, "the certificate is for other.test, not for pods.test"),
        (serve(&stranger, "pods.test", None).await, "the certificate is of an unknown issuer"),
    ] {
        let channel = to(address).tls(Tls::new().ca_file(ca.file())).unwrap().build().unwrap();
        let (code, message) = fails(&channel, "").await;
        assert_eq!(code, Code::Unavailable);
        assert!(message.contains("TLS handshake failed") && message.contains(why), "{message}");
    }
}

/// The certificate is self-signed and marked as a CA, as `openssl req -x509` creates it.
#[tokio::test]
async fn certificate_that_is_itself_in_the_ca_file_is_trusted_for_its_names() {
    for (names, in_file, expired, result) in [
        (&["pods.test"][..], true, false, Ok("secure")),
        (&["other.test"], true, false, Err("the certificate is for other.test, not for pods.test")),
        (&[], true, false, Err("has no subjectAltName")),
        (&["pods.test"], true, true, Err("the certificate has expired")),
        (&["pods.test"], false, false, Err("that of a CA (CA:TRUE), and is not itself in the CA file")),
    ] {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(&certificate, key.serialize_pem());
        let address = serve_as(ServerTlsConfig::new().identity(identity)).await;

        let ca = Ca::new();
        let file = ca.write("server.pem", &if in_file { certificate } else { ca.pem() });
        let channel = to(address).tls(Tls::new().ca_file(file)).unwrap().build().unwrap();
        match result {
            Ok(hostname) => assert_eq!(call(&channel, "").await.unwrap(), hostname),
            Err(problem) => {
                let (code, message) = fails(&channel, "").await;
                assert_eq!(code, Code::Unavailable);
                assert!(message.contains(problem), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn server_name_setting_overrides_the_host_of_the_target() {
    let ca = Ca::new();
    let address = serve(&ca, "other.test", None).await;
    let tls = Tls::new().ca_file(ca.file()).server_name("other.test");
    let channel = to(address).tls(tls).unwrap().build().unwrap();
    assert_eq!(call(&channel, "").await.unwrap(), "secure");
}

#[tokio::test]
async fn server_that_requests_a_client_certificate_gets_it() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let address = serve(&ca, "pods.test", Some(&clients)).await;
    let (certificate, key) = clients.issue("client.test");
    let (certificate, key) = (clients.write("tls.crt", &certificate), clients.write("tls.key", &key));

    let known = Tls::new().ca_file(ca.file()).identity(certificate, key);
    let channel = to(address).tls(known).unwrap().build().unwrap();
    assert_eq!(call(&channel, "").await.unwrap(), "secure");

    let nobody = to(address).tls(Tls::new().ca_file(ca.file())).unwrap().build().unwrap();
    assert_eq!(fails(&nobody, "").await.0, Code::Unavailable);
}

#[tokio::test]
async fn changed_certificate_files_are_read_again() {
    let (before, after) = (Ca::new(), Ca::new());
    let address = serve(&after, "pods.test", None).await;
    let path = before.file();
    let channel = to(address).tls(Tls::new().ca_file(&path)).unwrap().build().unwrap();
    assert_eq!(fails(&channel, "").await.0, Code::Unavailable);

    fs::write(&path, after.pem()).unwrap();
    ready(&channel, 1).await;
    assert_eq!(call(&channel, "").await.unwrap(), "secure");
}

#[tokio::test]
async fn server_without_tls_is_rejected() {
    let backend = backend::Backend::start();
    let ca = Ca::new();
    let channel = to(backend.address).tls(Tls::new().ca_file(ca.file())).unwrap().build().unwrap();
    let (code, message) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("TLS handshake failed"), "{message}");
}

#[tokio::test]
async fn unusable_file_or_name_is_named_when_the_channel_is_built() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue("client.test");
    let certificate = ca.write("tls.crt", &certificate);
    let (_, other_key) = ca.issue("client.test");
    let other_key = ca.write("other.key", &other_key);
    let key = ca.write("tls.key", &key);
    let empty = ca.write("empty.pem", "");
    let tls = |tls: Tls| Channel::builder("dns:///pods.test:443").tls(tls).map(drop);
    for (tls, why) in [
        (tls(Tls::new().ca_file("/nowhere/ca.pem")), "/nowhere/ca.pem cannot be used"),
        (tls(Tls::new().ca_file(&empty)), "empty.pem contains no certificate"),
        (tls(Tls::new().ca_file(ca.file()).identity(&certificate, "/nowhere/tls.key")), "/nowhere/tls.key"),
        (tls(Tls::new().ca_file(ca.file()).identity(&certificate, &other_key)), "tls.crt cannot be used"),
        (tls(Tls::new().ca_file(ca.file()).server_name("not a name")), "\"not a name\""),
    ] {
        let message = tls.unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    }
    tls(Tls::new().ca_file(ca.file()).identity(certificate, key)).unwrap();
}

#[tokio::test]
async fn https_target_without_tls_is_an_error() {
    let error = Channel::new("https://pods.test").unwrap_err();
    assert!(
        matches!(error, BuildError::Insecure(_)) && error.to_string().contains("Builder::tls"),
        "{error}"
    );
    let channel = Channel::builder("https://pods.test").tls(Tls::new().ca_file(Ca::new().file())).unwrap();
    channel.build().unwrap();
}
