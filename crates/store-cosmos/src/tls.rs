//! TLS to Cosmos DB: rustls, with the system's certificates or one file's.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{Config, OpenError};

/// A connector that speaks TLS where the address says so.
pub(crate) fn connector(http: HttpConnector, config: &Config) -> Result<HttpsConnector<HttpConnector>, OpenError> {
    // Reading the system's certificates takes milliseconds: only for who needs them.
    let roots = if config.base.starts_with("https://") { roots(config)? } else { RootCertStore::empty() };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| OpenError::Tls(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

fn roots(config: &Config) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(OpenError::Tls("the system has no certificates to trust (ca-certificates)".into()));
            }
        }
        Some(path) => {
            let unusable = |e: &dyn std::fmt::Display| OpenError::Tls(format!("{}: {e}", path.display()));
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
