//! How the processes of a cluster find each other: by pings on the bus, or
//! through Consul.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use whisker_bus::{ControllerId, InvokerPing, News, NewsSink};
use whisker_discovery_consul::{Address, CONTROLLERS, Config, Registration, Service, Watch};

use crate::secrets;

/// Settings of discovery.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Discovery {
    /// By what controllers know which invokers live: their pings on the bus, or Consul
    #[arg(long, env = "WHISKER_DISCOVERY", default_value = "bus")]
    pub discovery: Means,
    /// Consul's agent beside this process. With --discovery consul; given alone, this process is registered there
    /// all the same
    #[arg(long, env = "WHISKER_CONSUL", value_name = "URL")]
    pub consul: Option<Address>,
    /// File with the token that Consul wants to see
    #[arg(long, env = "WHISKER_CONSUL_TOKEN_FILE", requires = "consul", value_name = "FILE")]
    pub consul_token_file: Option<PathBuf>,
}

/// Where signs of life come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Means {
    /// The bus.
    Bus,
    /// Consul.
    Consul,
}

/// What is done about it.
pub struct Finding {
    config: Option<Config>,
    watched: bool,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Finding {
    /// As settings ask. Starts nothing.
    pub fn new(settings: &Discovery) -> anyhow::Result<Self> {
        let watched = settings.discovery == Means::Consul;
        let config = match &settings.consul {
            None if watched => Some(Config::new("http://127.0.0.1:8500".parse()?)),
            None => None,
            Some(address) => Some(Config::new(address.clone())),
        };
        let token = match &settings.consul_token_file {
            None => None,
            Some(file) => {
                let text = secrets::read_file(file).with_context(|| format!("cannot read {}", file.display()))?;
                Some(text.trim().parse().ok().context("Consul's token is no text of a header")?)
            }
        };
        let config = config.map(|config| Config { token, ..config });
        Ok(Self { config, watched, tasks: Vec::new(), stop: CancellationToken::new() })
    }

    /// Has Consul know of this controller.
    pub fn register_controller(&mut self, id: &ControllerId, address: SocketAddr) {
        let id = format!("whisker-controller{}", id.0);
        let (ip, port) = (address.ip(), address.port());
        self.register(Service { name: CONTROLLERS, id, address: ip, port, ping: None });
    }

    /// Has Consul know of this invoker.
    pub fn register_invoker(&mut self, ping: InvokerPing, address: SocketAddr) {
        self.register(Service::invoker(ping, address.ip(), address.port()));
    }

    fn register(&mut self, service: Service) {
        if let Some(config) = &self.config {
            let registration = Registration::new(config.clone(), service);
            self.tasks.push(tokio::spawn(registration.run(self.stop.clone())));
        }
    }

    /// What is to follow the bus in the place of `sink`, which hears of the
    /// invokers through Consul if that is asked for, and of all else from there.
    pub fn follow(&mut self, sink: Arc<dyn NewsSink>) -> Arc<dyn NewsSink> {
        match &self.config {
            Some(config) if self.watched => {
                let watch = Watch::new(config.clone());
                self.tasks.push(tokio::spawn(watch.run(sink.clone(), self.stop.clone())));
                Arc::new(WithoutInvokers(sink))
            }
            _ => sink,
        }
    }

    /// Takes back what was registered.
    pub async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Passes on all but the pings of invokers.
struct WithoutInvokers(Arc<dyn NewsSink>);

impl NewsSink for WithoutInvokers {
    fn heard(&self, news: News) {
        if !matches!(news, News::Invoker(_)) {
            self.0.heard(news);
        }
    }
}
