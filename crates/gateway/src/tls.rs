//! The certificate of `--tls-cert` and the key of `--tls-key`. Called once, before the service listens.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    #[error("cannot read the key: {0}")]
    Key(String),
    #[error("the key does not belong to the certificate")]
    Mismatch,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotValidYet,
    #[error("cannot use the certificate: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads PEM files: the certificate, followed by those of its issuers, and the key.
    ///
    /// # Errors
    /// A file cannot be read or parsed, the key belongs to another certificate, or the certificate is not valid now.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unreadable = |error: pem::Error| TlsError::Certificate(text(error));
        let chain = CertificateDer::pem_file_iter(certificate).map_err(unreadable)?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(unreadable)?;
        if chain.is_empty() {
            let why = "the file contains no certificate in PEM form";
            return Err(TlsError::Certificate(why.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(text(error)))?;
        check_time(&chain)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

fn text(error: pem::Error) -> String {
    if let pem::Error::Io(error) = error {
        return error.to_string();
    }
    if matches!(error, pem::Error::NoItemsFound) {
        return "the file contains none in PEM form".to_owned();
    }
    error.to_string()
}

fn unusable(error: rustls::Error) -> TlsError {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return TlsError::Mismatch;
    }
    if let rustls::Error::InvalidCertificate(error) = error {
        return TlsError::Certificate(error.to_string());
    }
    TlsError::Unusable(error.to_string())
}

/// Refuses a certificate that is not valid now. rustls does not offer the validity of a certificate, but the verifier
/// for clients checks the validity first. Ignores all other findings: the issuer may be known only to the clients.
fn check_time(chain: &[CertificateDer<'static>]) -> Result<(), TlsError> {
    let Some((own, issuers)) = chain.split_first() else {
        return Ok(());
    };
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).map_err(unusable)?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| TlsError::Unusable(error.to_string()))?;
    let name = ServerName::try_from("localhost").expect("a name");
    match verifier.verify_server_cert(own, issuers, &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Err(TlsError::Expired),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Err(TlsError::NotValidYet),
        Ok(_) | Err(_) => Ok(()),
    }
}
