//! The backend: which containers are made, and of what.

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use whisker_artifacts::{Artifacts, Failure};
use whisker_sandbox::{Container, Error, Sandbox, Start};

use crate::{
    Config, Unavailable,
    container::{ProcessContainer, Source},
    intake::Intake,
    parts::{Parts, Raised},
    spares::{self, Spares},
    spawn,
    thread::Maker,
    workshop::Workshop,
};

/// Sandboxed processes on this host. Containers do not outlive it.
pub struct ProcessSandbox {
    parts: Arc<Parts>,
    maker: Maker,
    workshop: Workshop,
    spares: Arc<Spares>,
}

impl Drop for ProcessSandbox {
    fn drop(&mut self) {
        self.spares.close();
    }
}

impl ProcessSandbox {
    /// Looks at what the host offers, prepares the sandbox's folder and
    /// cgroups, and tries the isolation once. Blocks for some milliseconds.
    pub fn new(config: Config) -> Result<ProcessSandbox, Unavailable> {
        let parts = Arc::new(Parts::prepare(config)?);
        let maker = Maker::start("sandbox").map_err(|source| Unavailable::Host { what: "start a thread", source })?;
        maker.post(|| {
            if let Err(error) = spawn::take_short_turns() {
                tracing::debug!(%error, "containers take turns of the usual length");
            }
        });
        parts.try_isolation()?;
        let folder = parts.host.artifacts();
        let artifacts = Artifacts::open(&folder, parts.config.artifact_bytes)
            .map_err(|source| Unavailable::Folder { folder, source })?;
        let workshop = Workshop::new(parts.clone(), maker.clone(), artifacts);
        let spares = Spares::new(if parts.isolation.is_some() { parts.config.spares } else { 0 });
        Ok(ProcessSandbox { parts, maker, workshop, spares })
    }

    /// How a kind would run here: the interpreter that was found, or why it
    /// cannot, or not from source. Runs programs once to see their versions:
    /// blocks.
    pub fn look_for(&self, kind: &str) -> Result<PathBuf, String> {
        if let Some(lacking) = self.parts.catalog.lacking(kind) {
            return Err(lacking);
        }
        self.parts.catalog.launch(kind).map(|launch| launch.command.into_iter().next().unwrap_or_default().into())
    }
}

/// Makes launchers and compilers ready that someone will need. Whoever needs one
/// meanwhile waits for what is being made.
async fn prepare(parts: Arc<Parts>, workshop: Workshop) {
    for kind in &parts.config.prepare {
        let (parts, name) = (parts.clone(), kind.clone());
        let launch = tokio::task::spawn_blocking(move || parts.catalog.launch(&name)).await;
        let launch = match launch {
            Ok(Ok(launch)) => launch,
            Ok(Err(reason)) => {
                tracing::warn!(kind, reason, "a kind that was to be prepared cannot run here");
                continue;
            }
            Err(error) => {
                tracing::warn!(kind, %error, "looking for a kind's interpreter was interrupted");
                continue;
            }
        };
        for recipe in launch.prepared() {
            match workshop.prepared(recipe).await {
                Ok(_) => tracing::debug!(kind, recipe = recipe.script, "prepared"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        kind,
                        recipe = recipe.script,
                        error,
                        "a kind could not be prepared; its first container will try again"
                    );
                }
            }
        }
    }
}

#[async_trait]
impl Sandbox for ProcessSandbox {
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error> {
        let parts = self.parts.clone();
        let kind = start.kind.clone();
        let launch = if parts.catalog.is_known(&kind) {
            parts.catalog.launch(&kind)
        } else {
            let parts = parts.clone();
            let looked = tokio::task::spawn_blocking(move || parts.catalog.launch(&kind)).await;
            looked.unwrap_or_else(|_| Err("looking for its interpreter was interrupted".to_owned()))
        };
        let launch = launch.map_err(|reason| Error::Unavailable { kind: start.kind.clone(), reason })?;
        let prepared = match &launch.prepare {
            Some(recipe) => Some(self.workshop.prepared(recipe).await.map_err(|failure| match failure {
                Failure::Host(error) => {
                    Error::host("prepare a launcher")(io::Error::new(error.kind(), error.to_string()))
                }
                Failure::Refused(refusal) => {
                    let reason =
                        format!("its launcher could not be made: {} {}", refusal.words, refusal.details.trim());
                    Error::Unavailable { kind: start.kind.clone(), reason }
                }
            })?),
            None => None,
        };

        let Start { memory_mb, concurrent, .. } = start;
        let (spare, parts, workshop) = (self.spares.take(memory_mb), parts.clone(), self.workshop.clone());
        let maker = self.maker.clone();
        // Seen through even if the caller goes away: what was made by then is
        // a process with belongings, for which only a keeper cares.
        let started = tokio::spawn(async move {
            let source = Source { launch: launch.clone(), workshop, copies: parts.isolation.is_none() };
            let prepared = prepared.map(|held| held.folder().to_owned());
            let raised = match spare {
                Some(spare) => spare.become_launcher(&launch, prepared.clone()).await,
                None => None,
            };
            let raised = match raised {
                Some(raised) => raised,
                None => {
                    let make = move |parts: &Parts, outfit| parts.make(&launch, memory_mb, prepared.as_deref(), outfit);
                    Raised::new(&parts, &maker, make).await?
                }
            };
            let intake = Intake::new(parts.config.log_cap_bytes);
            Ok(Arc::new(ProcessContainer::new(raised, intake, concurrent, source)) as _)
        });
        started.await.unwrap_or_else(|ended| Err(Error::host("start a container")(io::Error::other(ended))))
    }

    async fn sweep(&self) -> Result<(), Error> {
        if let Some(isolation) = &self.parts.isolation {
            for group in isolation.groups.leftovers() {
                group.kill();
                if !group.remove().await {
                    tracing::warn!(container = group.name(), "processes of a former life could not be killed");
                }
            }
        }
        let parts = self.parts.clone();
        let swept = tokio::task::spawn_blocking(move || parts.host.sweep()).await;
        let swept = swept
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(Error::host("remove folders of a former life"));
        // Not before: they would be swept away. Ends when the spares are closed.
        tokio::spawn(spares::keep(self.spares.clone(), Arc::downgrade(&self.parts), self.maker.clone()));
        // Nor this: what it works in would be. It ends by itself; a server that
        // ends first takes it along.
        if !self.parts.config.prepare.is_empty() {
            tokio::spawn(prepare(self.parts.clone(), self.workshop.clone()));
        }
        swept
    }
}
