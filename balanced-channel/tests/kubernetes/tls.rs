//! The API server over TLS, as in real clusters.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service::testing::api_server::kubeconfig;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Starts a TLS proxy in front of `server`.
async fn in_front_of(server: SocketAddr, issuer: &Issuer) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate closes the connection.
                let Ok(mut secure) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(server).await.unwrap();
                drop(copy_bidirectional(&mut secure, &mut plain).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn api_server_is_verified_with_the_ca_of_the_kubeconfig() {
    let cluster = Cluster::new(&["127.0.71.1"]).await;
    cluster.api.require_token("first");
    cluster.list("svc-a", [0]);
    let (right, wrong) = (authority(), authority());
    let server = in_front_of(cluster.api.address, &right).await;
    let trust = |issuer: &Issuer| {
        let file = cluster.folder.path().join("ca.crt");
        std::fs::write(&file, issuer.pem()).unwrap();
        let config = format!("{{server: 'https://{server}', certificate-authority: '{}'}}", file.display());
        std::fs::write(cluster.kubeconfig(), kubeconfig(&config, "first")).unwrap();
    };
    trust(&wrong);
    let channel = cluster.channel("grpc");
    let error = resolver_error(&channel, "certificate").await;
    assert!(
        error.starts_with(&format!("the call to the Kubernetes API at https://{server} failed: ")),
        "{error}"
    );
    trust(&right);
    ready(&channel, 1).await;
    call(&channel, "").await.unwrap();
}
