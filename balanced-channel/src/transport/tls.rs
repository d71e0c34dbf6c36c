//! TLS by rustls: trusted certificates and the identity of the client, with reload when their files change.
//!
//! Kubernetes and cert-manager replace certificates by replacing files. The files are checked before each new
//! connection; a change does not affect existing connections.

mod verifier;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use http::uri::Scheme;
use tokio_rustls::{
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

pub use self::verifier::{CaFileVerifier, CertificateProblem};
use crate::{
    resolver::Endpoint,
    transport::{Connector, chain},
};

const ALPN_HTTP2: &[u8] = b"h2";

/// The TLS settings of a channel: trusted authorities and the client's identity.
///
/// The certificate of the server must be valid for the host of the target (not for its IP address), and issued by one
/// of the system's roots or of the certificates in a file.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

/// The PEM files with the identity of the client.
#[derive(Clone, Debug)]
struct Identity {
    certificates: PathBuf,
    key: PathBuf,
}

/// TLS cannot be used. The error names the file.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

/// Opens TLS streams over the streams of another connector.
#[derive(Debug)]
pub struct TlsConnector<C> {
    inner: C,
    tls: Tls,
    server_name: ServerName<'static>,
    loaded: Mutex<Loaded>,
}

/// The certificates that were read last, and the stamps of their files at that time.
#[derive(Clone, Debug)]
struct Loaded {
    stamps: Vec<Stamp>,
    config: Arc<ClientConfig>,
}

/// The properties of a file that change when it is replaced.
type Stamp = Option<(SystemTime, u64)>;

// === impl Tls ===

impl Tls {
    /// Creates TLS settings with the system's roots and without a client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts only the certificates in this PEM file and those issued by them. A server may also present a certificate
    /// that is itself in the file, even one marked as a CA. Default: the system's roots.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets the certificate chain and its private key, as PEM files, for servers that request a client certificate.
    pub fn identity(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity { certificates: certificates.into(), key: key.into() });
        self
    }

    /// Sets the name that the server's certificate must be valid for, which is also sent as SNI. Default: the host of
    /// the channel's authority.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    fn stamps(&self) -> Vec<Stamp> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.certificates, &identity.key]);
        self.ca_file.iter().chain(identity).map(|path| stamp(path)).collect()
    }

    fn load(&self) -> Result<Loaded, TlsError> {
        // Taken before the files are read, so that the next check notices a change during the read.
        let stamps = self.stamps();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?;
        let config = match &self.ca_file {
            Some(path) => {
                let verifier =
                    CaFileVerifier::new(certificates(path)?).map_err(|error| unusable(path, &*error))?;
                config.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError("this system has no root certificates: name a CA file".into()));
                }
                config.with_root_certificates(roots)
            }
        };
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificates: path, key: key_path }) => {
                let key =
                    PrivateKeyDer::from_pem_file(key_path).map_err(|error| unusable(key_path, &error))?;
                config
                    .with_client_auth_cert(certificates(path)?, key)
                    .map_err(|error| unusable(path, &error))?
            }
        };
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Loaded { stamps, config: Arc::new(config) })
    }
}

// === impl TlsConnector ===

impl<C> TlsConnector<C> {
    /// Creates a connector that encrypts the streams of `inner`. The server's certificate must be valid for `host`,
    /// unless `tls` sets another name.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, or the host is not a valid name for a certificate.
    pub fn new(inner: C, tls: Tls, host: &str) -> Result<Self, TlsError> {
        let host = tls.server_name.as_deref().unwrap_or(host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(bare.to_owned())
            .map_err(|_| TlsError(format!("\"{host}\" is not a name that a certificate can carry")))?;
        let loaded = Mutex::new(tls.load()?);
        Ok(Self { inner, tls, server_name, loaded })
    }

    /// Returns the configuration from the current files. If they cannot be used, for example while one is being
    /// written, the last valid configuration stays in use.
    fn config(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.stamps != self.tls.stamps() {
            match self.tls.load() {
                Ok(fresh) => {
                    tracing::info!(server = ?self.server_name, "certificates reloaded");
                    *loaded = fresh;
                }
                Err(error) => {
                    tracing::warn!(%error, "reload of changed certificates failed; the old ones stay in use")
                }
            }
        }
        loaded.config.clone()
    }
}

impl<C: Connector> Connector for TlsConnector<C> {
    type Io = TlsStream<C::Io>;

    fn scheme(&self) -> Scheme {
        Scheme::HTTPS
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Self::Io> {
        let stream = self.inner.connect(endpoint).await?;
        let tls = tokio_rustls::TlsConnector::from(self.config());
        let stream = tls.connect(self.server_name.clone(), stream).await.map_err(|error| {
            let cause = match CertificateProblem::of(&error) {
                Some(problem) => problem.to_string(),
                None => chain(&error),
            };
            io::Error::new(error.kind(), format!("TLS handshake failed: {cause}"))
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(io::Error::other("the server does not offer HTTP/2 over TLS (ALPN \"h2\")"));
        }
        Ok(stream)
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError(format!("{} contains no certificate", path.display())));
    }
    Ok(certificates)
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError(format!("{} cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn unusable_file_keeps_the_last_valid_certificates() {
        let pem = rcgen::generate_simple_self_signed(["pods.test".to_owned()]).unwrap().cert.pem();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(pem.as_bytes()).unwrap();
        let connector = TlsConnector::new((), Tls::new().ca_file(file.path()), "pods.test").unwrap();
        let first = connector.config();
        assert!(Arc::ptr_eq(&first, &connector.config()), "a file that stays is not read again");

        file.as_file().set_len(20).unwrap();
        assert!(Arc::ptr_eq(&first, &connector.config()));
        file.as_file().set_len(0).unwrap();
        fs::write(file.path(), pem.repeat(2)).unwrap();
        assert!(!Arc::ptr_eq(&first, &connector.config()));
    }
}
