//! TLS to a server: rustls, with the system's certificates or one file's.

use std::{path::Path, sync::Arc};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// TLS cannot be set up: the text says what is wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS: {0}")]
pub struct TlsError(String);

/// A connector that speaks TLS where `base` says so.
pub(crate) fn connector(
    http: HttpConnector,
    base: &str,
    ca: Option<&Path>,
) -> Result<HttpsConnector<HttpConnector>, TlsError> {
    // Reading the system's certificates takes milliseconds: only for who needs them.
    let roots = if base.starts_with("https://") { roots(ca)? } else { RootCertStore::empty() };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(TlsError("the system has no certificates to trust (ca-certificates)".into()));
            }
        }
        Some(path) => {
            let unusable = |e: &dyn std::fmt::Display| TlsError(format!("{}: {e}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e))? {
                let certificate = certificate.map_err(|e| unusable(&e))?;
                roots.add(certificate).map_err(|e| unusable(&e))?;
            }
            if roots.is_empty() {
                return Err(unusable(&"holds no certificate"));
            }
        }
    }
    Ok(roots)
}
