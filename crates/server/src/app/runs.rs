//! The side that runs user code: a sandbox, and an invoker on it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use whisker_bus::{InvokerBus, InvokerId};
use whisker_entity::Manifest;
use whisker_events::Events;
use whisker_invoker::{Error, Invoker, Load, Parts, Spool};
use whisker_sandbox::Sandbox;
use whisker_sandbox_docker::DockerSandbox;
use whisker_sandbox_process::ProcessSandbox;
use whisker_secrets::Secrets;
use whisker_traces::Tracer;

use super::now;
use crate::{
    callback::Callback,
    configure, docker,
    off_limits::OffLimits,
    settings::{Containers, Serve},
    stores::Stores,
};

/// How much longer than the runs' grace the invoker may take at the end, to kill
/// what is left and clear it away.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// What an invoker is made of besides its sandbox.
pub struct Needs {
    /// Its number.
    pub id: InvokerId,
    /// Where messages come from.
    pub bus: Arc<dyn InvokerBus>,
    /// Where actions are, and records go.
    pub stores: Stores,
    /// What arguments are unlocked with.
    pub secrets: Arc<Secrets>,
    /// Where records wait.
    pub spool: Spool,
    /// Who is told of activations that ended.
    pub events: Events,
    /// Who is told where their time went.
    pub tracer: Tracer,
}

/// An invoker at work.
pub struct Runs {
    invoking: JoinHandle<Result<(), Error>>,
    /// How busy it is.
    pub load: Load,
    stop: CancellationToken,
    hurry: CancellationToken,
}

/// How an invoker ended, if it did so by itself.
pub type Ended = Result<Result<(), Error>, JoinError>;

impl Runs {
    /// Makes the sandbox, whose functions call back to the API at `api`, if that is
    /// this process's, and begins.
    pub async fn start(
        settings: &Serve,
        manifest: &Manifest,
        data_dir: &Path,
        api: Option<SocketAddr>,
        needs: Needs,
    ) -> anyhow::Result<Self> {
        let mut config = configure::invoker(settings, manifest)?;
        config.id = needs.id;
        (config.events, config.tracer) = (needs.events.clone(), needs.tracer.clone());
        let user_memory_mb = config.user_memory_mb;
        let off_limits = OffLimits::of(settings);
        let callback = match api {
            Some(address) => Callback::here(settings, address),
            None => Callback::elsewhere(settings),
        };
        let look_up = move || (off_limits.look_up(), callback.look_up());
        let (denied, callback) = tokio::task::spawn_blocking(look_up).await.context("looking hosts up ended badly")?;
        let reach = callback.reach(denied);
        let sandbox: Arc<dyn Sandbox> = match settings.containers {
            // Looking at what the host offers blocks for some milliseconds, which
            // the first requests need not wait for.
            Containers::Sandbox => {
                let sandbox = configure::sandbox(settings, data_dir, &callback, reach);
                Arc::new(
                    tokio::task::spawn_blocking(move || ProcessSandbox::new(sandbox))
                        .await
                        .context("looking at the host ended badly")?
                        .context("cannot isolate user code on this host")?,
                )
            }
            Containers::Docker => {
                let sandbox = docker::config(settings, data_dir, &callback, reach, user_memory_mb);
                config = docker::invoker(settings, config);
                Arc::new(DockerSandbox::connect(sandbox).await.context("cannot have containers of Docker")?)
            }
        };
        let Needs { bus, stores, secrets, spool, .. } = needs;
        let invoker = Invoker::new(
            config,
            Parts {
                bus,
                entities: stores.entities,
                activations: stores.activations,
                sandbox,
                secrets,
                spool,
                clock: Arc::new(now),
            },
        );
        let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
        let load = invoker.load();
        let invoking = tokio::spawn(invoker.run_until(stop.clone(), hurry.clone()));
        Ok(Self { invoking, load, stop, hurry })
    }

    /// Waits for an end that nobody asked for.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.invoking).await
    }

    /// Takes no more messages, lets runs end until `grace`, and clears away.
    /// `ended` is what [`Self::ended`] said, if it did.
    pub async fn drain(self, grace: Instant, ended: Option<Ended>) -> anyhow::Result<()> {
        let hurry = self.hurry;
        let hurrying = tokio::spawn(async move {
            tokio::time::sleep_until(grace).await;
            hurry.cancel();
        });
        self.stop.cancel();
        let outcome = match ended {
            Some(ended) => ended,
            None => tokio::time::timeout_at(grace + DRAIN_MARGIN, self.invoking).await.unwrap_or_else(|_| {
                tracing::warn!("the invoker did not end in time: what it holds is taken up by the next start");
                Ok(Ok(()))
            }),
        };
        hurrying.abort();
        outcome.context("the invoker ended badly")?.context("the invoker cannot go on")
    }
}
