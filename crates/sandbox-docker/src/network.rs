//! The network that containers are in.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{NetworkCreateRequest, NetworkInspect};
use tokio::task::spawn_blocking;
use whisker_firewall::Firewall;

use crate::{
    Config, Guarded, Network, Unavailable,
    confine::LABEL,
    daemon::{Daemon, Failed, LONG, SHORT},
    guard,
};

/// A network, and what keeps containers in it.
#[derive(Debug)]
pub(crate) struct Networking {
    /// Its name.
    pub name: String,
    /// This host's address on it, if it has one there.
    pub gateway: Option<Ipv4Addr>,
    /// Whether it is the operator's.
    foreign: bool,
    /// Stands as long as this value.
    _guard: Option<Firewall>,
}

impl Networking {
    /// Finds the network, or makes it.
    pub(crate) async fn prepare(daemon: &Daemon, config: &Config) -> Result<Networking, Unavailable> {
        let instance = &config.instance;
        let (name, bridge, internal) = match &config.network {
            Network::Named(name) => {
                let found = inspect(daemon, name).await.map_err(|failed| unusable(name, &failed))?;
                return Ok(Networking { name: name.clone(), gateway: gateway(&found), foreign: true, _guard: None });
            }
            // Interfaces' names have 15 letters at most.
            Network::Guarded(Guarded { outside: true, .. }) => {
                (format!("whisker-{instance}"), format!("wd-{instance}"), false)
            }
            Network::Guarded(_) => (format!("whisker-{instance}-inside"), format!("wi-{instance}"), true),
            Network::Open => (format!("whisker-{instance}-open"), format!("wo-{instance}"), false),
        };
        let network = match inspect(daemon, &name).await {
            Err(failed) if failed.is_missing() => {
                create(daemon, config, &name, &bridge, internal).await.map_err(|failed| unusable(&name, &failed))?;
                inspect(daemon, &name).await
            }
            found => found,
        };
        let network = network.map_err(|failed| unusable(&name, &failed))?;
        let gateway = gateway(&network);
        let Network::Guarded(guarded) = &config.network else {
            return Ok(Networking { name, gateway, foreign: false, _guard: None });
        };
        let subnet = subnet(&network)
            .ok_or_else(|| Unavailable::Network { name: name.clone(), said: "it has no IPv4 addresses".to_owned() })?;
        let (instance, guarded) = (instance.clone(), guarded.clone());
        let set = spawn_blocking(move || guard::set(&instance, &bridge, &subnet, gateway, &guarded));
        let guard = set.await.unwrap_or_else(|_| Err(Unavailable::Guard { said: "it was interrupted".to_owned() }))?;
        Ok(Networking { name, gateway, foreign: false, _guard: Some(guard) })
    }

    /// Removes the network from the daemon, unless it is the operator's.
    pub(crate) async fn remove(&self, daemon: &Daemon) -> Result<(), Failed> {
        if self.foreign {
            return Ok(());
        }
        match daemon.call(LONG, |docker| docker.remove_network(&self.name)).await {
            Err(failed) if !failed.is_missing() => Err(failed),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

async fn inspect(daemon: &Daemon, name: &str) -> Result<NetworkInspect, Failed> {
    daemon.call(SHORT, |docker| docker.inspect_network(name, None)).await
}

async fn create(daemon: &Daemon, config: &Config, name: &str, bridge: &str, internal: bool) -> Result<(), Failed> {
    let options = [
        ("com.docker.network.bridge.name", bridge),
        // Containers do not see each other, where the daemon sees to that.
        ("com.docker.network.bridge.enable_icc", "false"),
    ];
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(internal),
        options: Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        labels: Some(HashMap::from([(LABEL.to_owned(), config.instance.clone())])),
        ..NetworkCreateRequest::default()
    };
    daemon.call(LONG, |docker| docker.create_network(request)).await.map(drop)
}

fn subnet(network: &NetworkInspect) -> Option<String> {
    let configs = network.ipam.as_ref()?.config.as_ref()?;
    configs.iter().filter_map(|config| config.subnet.clone()).find(|subnet| subnet.contains('.'))
}

fn gateway(network: &NetworkInspect) -> Option<Ipv4Addr> {
    let configs = network.ipam.as_ref()?.config.as_ref()?;
    configs.iter().find_map(|config| config.gateway.as_ref()?.parse().ok())
}

fn unusable(name: &str, failed: &Failed) -> Unavailable {
    Unavailable::Network { name: name.to_owned(), said: failed.to_string() }
}
