//! Where a server is, and how it is spoken to.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};

/// A server as its clients know it: an address, and what TLS needs if it
/// speaks that.
#[derive(Clone)]
pub struct Origin {
    address: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Origin {
    /// One that speaks TLS under this name.
    pub(crate) fn secure(address: SocketAddr, host: &str, tls: Arc<ClientConfig>) -> Origin {
        Origin { address, host: host.to_owned(), tls: Some(tls) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is called in requests.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The name that its certificate must have.
    pub(crate) fn name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("a name or an address")
    }

    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Origin {
        Origin { address, host: address.to_string(), tls: None }
    }
}

impl From<&Origin> for Origin {
    fn from(origin: &Origin) -> Origin {
        origin.clone()
    }
}
