//! Verifies servers against the certificates of a file, and describes the problem of a server's certificate.

use std::{error::Error, fmt, io, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error as RustlsError, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Trusts the certificates of a CA file and those issued by them. A certificate that is itself in the file is trusted
/// for its names even if it is marked as that of a CA, which `openssl req -x509` does. OpenSSL and Go accept it too.
#[doc(hidden)]
#[derive(Debug)]
pub struct CaFileVerifier {
    issued: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// The problem of a certificate that a server presents.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// No trusted certificate has issued it.
    UnknownIssuer,
    /// It is the certificate of a CA and is not itself trusted.
    IsCa,
    /// It is not valid for the name of the server.
    WrongName {
        /// The required name.
        expected: String,
        /// The names in the certificate.
        names: Vec<String>,
    },
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// Any other problem, as described by the TLS library.
    Other(String),
}

// === impl CaFileVerifier ===

impl CaFileVerifier {
    /// Creates a verifier for the certificates of a file.
    ///
    /// # Errors
    ///
    /// Fails if a certificate cannot be read.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let provider = Arc::new(ring::default_provider());
        let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { issued, certificates })
    }
}

impl ServerCertVerifier for CaFileVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let verified = self.issued.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            Err(RustlsError::InvalidCertificate(error))
                if is_ca(&error) && self.certificates.iter().any(|known| known == certificate) =>
            {
                // The dates were verified already: the library checks them before the kind of certificate.
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.issued.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.issued.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// Returns whether a certificate was refused because it is marked as that of a CA.
fn is_ca(error: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(error)) = error else { return false };
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

// === impl CertificateProblem ===

impl CertificateProblem {
    /// Returns why the certificate of a server was refused in a handshake, if it was.
    pub fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<RustlsError>()?;
        let RustlsError::InvalidCertificate(error) = error else { return None };
        Some(match error {
            // The signature is bad if an issuer of the same name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { expected, presented } => Self::WrongName {
                expected: expected.to_str().into_owned(),
                names: presented.iter().map(|name| plain_name(name)).collect(),
            },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            error if is_ca(error) => Self::IsCa,
            error => Self::Other(error.to_string()),
        })
    }
}

/// Returns a name of a certificate without its kind: `a.test` for `DnsName("a.test")`.
fn plain_name(name: &str) -> String {
    let value = name.split_once('(').map_or(name, |(_, value)| value.strip_suffix(')').unwrap_or(value));
    value.trim_matches('"').to_owned()
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("the certificate is of an unknown issuer"),
            Self::IsCa => f.write_str(
                "the certificate is that of a CA (CA:TRUE), and is not itself in the CA file; put it there, or make one \
                 with openssl req -addext basicConstraints=critical,CA:FALSE",
            ),
            Self::WrongName { expected, names } if names.is_empty() => write!(
                f,
                "the certificate has no subjectAltName, without which it proves no name; make one with openssl req \
                 -addext subjectAltName={}:{expected}",
                if expected.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" }
            ),
            Self::WrongName { expected, names } => {
                write!(f, "the certificate is for {}, not for {expected}", names.join(", "))
            }
            Self::Expired => f.write_str("the certificate has expired"),
            Self::NotYetValid => f.write_str("the certificate is not valid yet; compare the clocks"),
            Self::Other(cause) => write!(f, "the certificate cannot be accepted: {cause}"),
        }
    }
}
