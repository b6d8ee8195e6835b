//! Registration: a service with a check that lapses, renewed for as long as
//! the process lives and taken back when it stops.

use std::{net::IpAddr, time::Duration};

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whisker_bus::InvokerPing;

use crate::{
    Config, Error, INVOKERS,
    client::{Client, PATIENCE},
};

/// What stays as it is in a path.
pub(crate) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The key of the metadata that holds an invoker's ping. Consul takes 512
/// bytes of each, so tags and dedicated namespaces must be few.
pub(crate) const PING: &str = "whisker-ping";

/// What is registered.
#[derive(Debug, Clone)]
pub struct Service {
    /// The service: [`CONTROLLERS`](crate::CONTROLLERS) or [`INVOKERS`].
    pub name: &'static str,
    /// This one of it.
    pub id: String,
    /// Where it listens, for whoever asks Consul where; everywhere is the
    /// address of the agent.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// What an invoker offers.
    pub ping: Option<InvokerPing>,
}

impl Service {
    /// An invoker, which would ping so.
    pub fn invoker(ping: InvokerPing, address: IpAddr, port: u16) -> Self {
        let id = format!("whisker-{}", ping.instance.id);
        Self { name: INVOKERS, id, address, port, ping: Some(ping) }
    }

    fn body(&self, config: &Config) -> Result<Value, Error> {
        let mut meta = json!({});
        if let Some(ping) = &self.ping {
            meta[PING] = serde_json::to_string(ping).map_err(|error| Error::Nonsense(error.into()))?.into();
        }
        let mut body = json!({
            "ID": self.id,
            "Name": self.name,
            "Port": self.port,
            "Meta": meta,
            "Check": {
                "TTL": seconds(config.ttl),
                "DeregisterCriticalServiceAfter": seconds(config.forgotten_after),
                "Notes": "Renewed by the process while it lives",
            },
        });
        if !self.address.is_unspecified() {
            body["Address"] = self.address.to_string().into();
        }
        Ok(body)
    }
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

/// Keeps a service registered.
pub struct Registration {
    client: Client,
    config: Config,
    service: Service,
}

impl Registration {
    /// Registers nothing yet.
    pub fn new(config: Config, service: Service) -> Self {
        Self { client: Client::new(&config), config, service }
    }

    /// Registers, renews until cancelled, deregisters. What Consul does not
    /// take is tried again with the next renewal; an agent that has forgotten
    /// the service, since it was restarted, is told anew.
    pub async fn run(self, cancel: CancellationToken) {
        let mut ticks = interval(self.config.ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut registered = false;
        // An outage is one line in the log.
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let outcome = tokio::select! {
                () = cancel.cancelled() => break,
                outcome = self.renew(registered) => outcome,
            };
            match outcome {
                Ok(()) => (registered, failing) = (true, false),
                Err(error) => {
                    // The agent knows no such check.
                    if matches!(error, Error::Refused { .. }) {
                        registered = false;
                    }
                    if !std::mem::replace(&mut failing, true) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(service = self.service.id, error, "Consul was not told that this process lives");
                    }
                }
            }
        }
        if let Err(error) = self.put("deregister", &self.service.id, Vec::new()).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(service = self.service.id, error, "Consul was not told of the end; its check will lapse");
        }
    }

    async fn renew(&self, registered: bool) -> Result<(), Error> {
        if !registered {
            let body = self.service.body(&self.config)?.to_string().into_bytes();
            self.client.ask(Method::PUT, "/v1/agent/service/register", body, PATIENCE).await?;
        }
        let check = utf8_percent_encode(&self.service.id, PATH);
        self.client.ask(Method::PUT, &format!("/v1/agent/check/pass/service:{check}"), Vec::new(), PATIENCE).await?;
        Ok(())
    }

    async fn put(&self, what: &str, id: &str, body: Vec<u8>) -> Result<(), Error> {
        let id = utf8_percent_encode(id, PATH);
        self.client.ask(Method::PUT, &format!("/v1/agent/service/{what}/{id}"), body, PATIENCE).await?;
        Ok(())
    }
}
