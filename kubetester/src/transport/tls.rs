//! TLS by rustls: for `https://` and `grpcs://` targets, and as options of the balanced channel.

mod insecure;

use std::{io, path::PathBuf, sync::Arc};

use balanced_channel::{CaFileVerifier, CertificateProblem};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, ClientConfig, Error as TlsError, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use self::insecure::AcceptAnyCertificate;
use super::{Unreachable, cause};

/// The options for TLS: the trusted certificates, and the client's own.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
#[group(skip)]
pub struct Tls {
    /// Speak TLS to a target of the balanced channel; https:// and grpcs:// do without being told
    #[arg(long)]
    pub tls: bool,

    /// Trust the certificates in this PEM file and no others [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// DANGER: take any certificate, of any issuer and for any name. Whoever is on the way can then read and change
    /// every call; for servers of your own that have no better certificate
    #[arg(long, conflicts_with_all = ["ca", "server_name"])]
    pub insecure: bool,

    /// Show this certificate chain (PEM) to a server that asks
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// The private key (PEM) of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// The name that the server has to prove [default: the target's host]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

/// A TLS client for one target.
#[derive(Clone)]
pub(super) struct TlsClient {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

// === impl Tls ===

impl Tls {
    /// Returns whether any TLS option is set.
    pub(super) fn is_set(&self) -> bool {
        let Self { tls, ca, insecure, cert, key: _, server_name } = self;
        *tls || ca.is_some() || *insecure || cert.is_some() || server_name.is_some()
    }

    /// Creates the TLS client for connections to `host`. `protocols` are ALPN names, the preferred one first.
    pub(super) fn client(&self, host: &str, protocols: &[&[u8]]) -> Result<TlsClient, Unreachable> {
        let mut config = self.config()?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let host = self.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(host.to_owned());
        let server_name =
            server_name.map_err(|_| usage(format!("no certificate can prove the name {host:?}")))?;
        Ok(TlsClient { connector: Arc::new(config).into(), server_name })
    }

    fn config(&self) -> Result<ClientConfig, Unreachable> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| usage(error.to_string()))?;
        let config = match (&self.ca, self.insecure) {
            (_, true) => {
                config.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate::new()))
            }
            (Some(file), false) => {
                let verifier = CaFileVerifier::new(certificates(file)?);
                let verifier = verifier.map_err(|error| unusable(file, &error))?;
                config.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            (None, false) => config.with_root_certificates(system_roots()?),
        };
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(config.with_no_client_auth());
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
        config.with_client_auth_cert(certificates(cert)?, private).map_err(|error| unusable(cert, &error))
    }
}

fn system_roots() -> Result<RootCertStore, Unreachable> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(usage("this system has no root certificates; name a file with --ca".to_owned())),
        false => Ok(roots),
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Unreachable> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| unusable(file, &error))? {
        none if none.is_empty() => Err(unusable(file, &"there is no certificate in it")),
        some => Ok(some),
    }
}

fn unusable(file: &std::path::Path, why: &dyn std::fmt::Display) -> Unreachable {
    usage(format!("{} cannot be used: {why}", file.display()))
}

fn usage(sentence: String) -> Unreachable {
    Unreachable::Usage(sentence)
}

// === impl TlsClient ===

impl TlsClient {
    /// Performs the TLS handshake over `stream`.
    ///
    /// # Errors
    ///
    /// Fails with a sentence that names `peer`.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        peer: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let handshake_result = self.connector.connect(self.server_name.clone(), stream).await;
        handshake_result.map_err(|error| describe_handshake_error(&error, peer))
    }
}

/// Describes why a handshake with `peer` failed.
fn describe_handshake_error(error: &io::Error, peer: &str) -> String {
    if let Some(problem) = CertificateProblem::of(error) {
        let remedy = match problem {
            CertificateProblem::UnknownIssuer => "; trust it with --ca, or anyone with --insecure",
            CertificateProblem::WrongName { .. } => "; to expect another name, write --server-name NAME",
            CertificateProblem::IsCa => "; the CA file is that of --ca",
            _ => "",
        };
        return format!("TLS with {peer} failed: {problem}{remedy}");
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        None => cause::of_io(error, peer),
        Some(TlsError::AlertReceived(AlertDescription::CertificateRequired)) => {
            format!("{peer} wants a certificate of its clients; show one with --cert and --key")
        }
        Some(
            TlsError::NoApplicationProtocol
            | TlsError::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => {
            format!("{peer} does not speak the protocol that was asked for over TLS (ALPN)")
        }
        Some(TlsError::InvalidMessage(_)) => format!("{peer} does not speak TLS"),
        Some(why) => format!("TLS with {peer} failed: {why}"),
    }
}
