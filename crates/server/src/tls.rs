//! TLS of our own listener: TLS 1.2 and later, HTTP/1.1 or HTTP/2 as the client
//! chooses (ALPN), and certificates that are replaced while connections stay.
//!
//! Whoever renews a certificate writes two files, one after the other. So the
//! files are read again when they changed since the last look, or at once on
//! SIGHUP, and what does not fit together is said and tried again with the
//! next change: meanwhile the old certificate goes on being shown.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};
use tokio_util::sync::CancellationToken;

/// How long a handshake may take: the connection is dropped after it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);
/// Longest file that is read: a chain of certificates takes some KB, and more
/// than this is another file.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// What HTTP/2 is called in a handshake.
const HTTP2: &[u8] = b"h2";

/// Takes handshakes.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// A connection behind its handshake, and whether it speaks HTTP/2.
pub struct Accepted<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// The client chose HTTP/2.
    pub http2: bool,
}

impl Tls {
    /// With the certificate and key in these files (PEM), which must fit.
    pub fn open(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let certificate = Arc::new(Certificate::open(certificate, key, provider.clone())?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("no version of TLS can be offered")?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The handshake of a connection, within bounds of time.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Accepted<S>> {
        let stream = timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await??;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok(Accepted { stream, http2 })
    }

    /// Looks after the files until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let hangup = signal(SignalKind::hangup());
        if hangup.is_err() {
            tracing::warn!("SIGHUP cannot be heard; certificates are still read when their files change");
        }
        let mut hangup = hangup.ok();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = cancel.cancelled() => return,
                _ = look.tick() => false,
                () = heard(&mut hangup) => true,
            };
            let certificate = self.certificate.clone();
            // Files may be on a disk that is slow today.
            let looked = tokio::task::spawn_blocking(move || certificate.renew(asked)).await;
            match looked {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("the TLS certificate was read again, and is shown from now on"),
                Ok(Err(error)) => tracing::error!(
                    error = &*error as &dyn std::error::Error,
                    "the new TLS certificate cannot be used; the old one goes on being shown"
                ),
                Err(_) => {
                    tracing::error!("looking at the TLS certificate ended badly; the old one goes on being shown")
                }
            }
        }
    }
}

/// The next SIGHUP, or never.
async fn heard(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// The certificate that is shown, and where the next one comes from.
struct Certificate {
    files: [PathBuf; 2],
    provider: Arc<CryptoProvider>,
    shown: RwLock<Shown>,
}

struct Shown {
    key: Arc<CertifiedKey>,
    /// What the files looked like when they were last read, good or bad.
    stamps: [Option<Stamp>; 2],
}

/// What changes with a file: renewers write in place, rename, or move a link.
type Stamp = (SystemTime, u64, u64);

impl Certificate {
    fn open(certificate: &Path, key: &Path, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let files = [certificate.to_owned(), key.to_owned()];
        let stamps = stamps(&files);
        let key = read(&files, &provider)?;
        Ok(Self { files, provider, shown: RwLock::new(Shown { key, stamps }) })
    }

    /// Reads the files again if they changed, or if asked to; whether another
    /// certificate is shown now.
    fn renew(&self, asked: bool) -> anyhow::Result<bool> {
        // Taken before the files are read: a change in between is seen next time.
        let stamps = stamps(&self.files);
        let before = {
            let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
            if !asked && shown.stamps == stamps {
                return Ok(false);
            }
            shown.key.clone()
        };
        let read = read(&self.files, &self.provider);
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.stamps = stamps;
        let key = read?;
        let other = key.cert != before.cert;
        shown.key = key;
        Ok(other)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the certificate in {}", self.files[0].display())
    }
}

fn stamps(files: &[PathBuf; 2]) -> [Option<Stamp>; 2] {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.each_ref().map(stamp)
}

/// The certificate and key in these files, if they belong together.
fn read([certificate, key]: &[PathBuf; 2], provider: &CryptoProvider) -> anyhow::Result<Arc<CertifiedKey>> {
    let in_file = |path: &Path| format!("cannot use {}", path.display());
    let chain = content(certificate)
        .and_then(|pem| Ok(CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?))
        .with_context(|| in_file(certificate))?;
    anyhow::ensure!(!chain.is_empty(), "{}: there is no certificate in it", in_file(certificate));
    // What is wrong with a key is said without a word of it.
    let secret = content(key).with_context(|| in_file(key))?;
    let secret = PrivateKeyDer::from_pem_slice(&secret)
        .map_err(|_| anyhow::anyhow!("{}: there is no private key (PEM) in it", in_file(key)))?;
    let key = CertifiedKey::from_der(chain, secret, provider)
        .with_context(|| format!("the key in {} does not fit {}", key.display(), certificate.display()))?;
    Ok(Arc::new(key))
}

fn content(path: &Path) -> anyhow::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    anyhow::ensure!(length <= FILE_MAX_BYTES, "it has {length} bytes, more than any certificate");
    Ok(fs::read(path)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use tempfile::TempDir;

    use super::*;

    /// Files with a new certificate.
    fn write(folder: &TempDir) -> [PathBuf; 2] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        fs::write(&files[0], made.cert.pem()).unwrap();
        fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
        files
    }

    fn words<T>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.map(|_| ()).unwrap_err())
    }

    #[test]
    fn what_is_no_certificate_or_no_key_is_said_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = write(&folder);
        assert!(Tls::open(&certificate, &key).is_ok());
        assert!(words(Tls::open(&folder.path().join("none"), &key)).contains("cannot use"));
        assert!(words(Tls::open(&key, &key)).contains("there is no certificate in it"));
        assert!(words(Tls::open(&certificate, &certificate)).contains("there is no private key"));
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(words(Tls::open(&certificate, &key)).contains("cert.pem"));
        fs::write(&certificate, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(words(Tls::open(&certificate, &key)).contains("more than any certificate"));
    }

    #[test]
    fn a_broken_renewal_keeps_the_old_certificate_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = write(&folder);
        let held = Certificate::open(&certificate, &key, Arc::new(ring::default_provider())).unwrap();
        let shown = || held.shown.read().unwrap().key.cert.clone();
        let first = shown();
        assert!(!held.renew(false).unwrap(), "nothing changed");
        assert!(!held.renew(true).unwrap(), "the same one");

        // Half of a renewal: the new key beside the old certificate.
        let old = fs::read(&certificate).unwrap();
        write(&folder);
        let new = fs::read(&certificate).unwrap();
        fs::write(&certificate, &old).unwrap();
        assert!(words(held.renew(true)).contains("does not fit"));
        assert_eq!(shown(), first);
        fs::write(&certificate, &new).unwrap();
        assert!(held.renew(true).unwrap());
        assert_ne!(shown(), first);
    }
}
