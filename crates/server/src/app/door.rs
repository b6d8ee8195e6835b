//! The port of a process, from its opening to the last answer.

use std::{net::SocketAddr, sync::Arc};

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    configure,
    listener::{Answers, Listener},
    proxies::Proxies,
    settings::Serve,
    tls::Tls,
};

/// A port that is bound: connections wait in the kernel until it is opened.
pub struct Door {
    listener: Listener,
    tls: Option<Tls>,
    /// Where it is.
    pub address: SocketAddr,
}

/// A port that is served.
pub struct OpenDoor {
    listening: JoinHandle<()>,
    renewing: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Door {
    /// Binds the port of the settings.
    pub async fn bind(settings: &Serve) -> anyhow::Result<Self> {
        let tls = configure::tls(settings)?;
        let listen = SocketAddr::new(settings.listen, settings.port);
        let listener = Listener::bind(listen, settings.connections_max, settings.connections_per_address).await?;
        let listener = listener.secured(tls.clone()).behind(Proxies::new(settings.trusted_proxy.clone()));
        let address = listener.address()?;
        Ok(Self { listener, tls, address })
    }

    /// Begins to answer.
    pub fn open<A: Answers>(self, answers: Arc<A>) -> OpenDoor {
        let stop = CancellationToken::new();
        let listening = tokio::spawn(self.listener.run(answers, stop.clone()));
        let renewing = self.tls.map(|tls| tokio::spawn(tls.run(stop.clone())));
        OpenDoor { listening, renewing, stop }
    }
}

impl OpenDoor {
    /// Takes no more requests, and lets those that are there end until `grace`.
    pub async fn close(self, grace: Instant) {
        self.stop.cancel();
        if tokio::time::timeout_at(grace, self.listening).await.is_err() {
            tracing::warn!("requests did not end in time and are cut off");
        }
        if let Some(renewing) = self.renewing {
            let _ = renewing.await;
        }
    }
}
