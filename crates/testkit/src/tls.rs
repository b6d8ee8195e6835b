//! Throwaway certificates.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::Origin;

/// A certificate in two files, which only its own clients believe.
pub struct Certificate {
    folder: TempDir,
    names: Vec<String>,
}

impl Certificate {
    /// For these names, and addresses.
    pub fn new(names: &[&str]) -> Certificate {
        let folder = TempDir::with_prefix("whisker-tls-").expect("a temporary folder");
        let certificate = Certificate { folder, names: names.iter().map(|&name| name.to_owned()).collect() };
        certificate.renew();
        certificate
    }

    /// Puts another one for the same names in its place, as renewers do: the
    /// key, then the certificate, each at once.
    pub fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(self.names.clone()).expect("names that a certificate may have");
        self.put(&self.key_path(), &made.signing_key.serialize_pem());
        self.put(&self.path(), &made.cert.pem());
    }

    fn put(&self, path: &Path, text: &str) {
        let beside = path.with_extension("new");
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).expect("the folder is ours");
    }

    /// Where it is (PEM).
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Where its key is (PEM).
    pub fn key_path(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// What it is (DER).
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(self.path()).expect("the one that was put there").to_vec()
    }

    /// The server that shows it at this address, called by the first name.
    pub fn origin(&self, address: SocketAddr) -> Origin {
        let mut roots = RootCertStore::empty();
        roots.add(self.der().into()).expect("it may be believed");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that the provider has")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Origin::secure(address, &self.names[0], Arc::new(config))
    }
}
