//! `whisker invoker`: runs what controllers send.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use whisker_bus::{Incarnation, InvokerBus as _, InvokerId, InvokerInstance, InvokerPing};
use whisker_bus_kafka::KafkaInvoker;
use whisker_entity::{ByteSize, MB};
use whisker_invoker::{Load, Spool};

use super::{
    Greeting,
    door::Door,
    incarnation, leaving, manifest, now,
    opening::Opening,
    runs::{Needs, Runs},
    shared,
};
use crate::{
    cluster, configure, discovery::Finding, kafka, numbers, observers::Observers, secrets, settings,
    subjects::Standard, telemetry,
};

/// How often an invoker says that it lives.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a ping may take before the next one is due.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// Runs functions until cancelled, then ends gracefully.
pub async fn invoker(settings: &settings::Invoker, cancel: CancellationToken) -> anyhow::Result<()> {
    let began = Instant::now();
    let settings::Invoker { id, unique_name, cluster, discovery, serve } = settings;
    let name = match (id, unique_name) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => host_name().context("this host has no name: use --id or --unique-name")?,
    };
    cluster::check_name("--unique-name", &name)?;
    let data_dir = serve.data_dir()?.join(format!("invoker-{name}"));
    let secrets = Arc::new(secrets::read(&serve.keys)?);
    let seals = secrets.seals()?;
    let manifest = manifest()?;
    let place = shared(configure::store(&serve.store, &seals, &data_dir, serve.durability)?)?;
    let config = kafka::config(cluster, serve, kafka::clock(now))?;
    let life = incarnation()?;
    let mut finding = Finding::new(discovery)?;
    let memory_mb = configure::invoker(serve, &manifest)?.user_memory_mb;
    let spool = Spool::open(configure::journal(serve, &seals, &data_dir, "spool")).context("cannot open the spool")?;

    let metrics = telemetry::count()?;
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let opening = Opening::new(metrics);
    let door = Door::bind(serve).await?;
    let address = door.address;
    tracing::info!(%address, invoker = name, "waiting for the store and for Kafka");
    let door = door.open(opening.clone());
    let opened = async {
        let store = opening.patiently("the store does not answer", &cancel, async || place.open().await).await?;
        let number = async || match id {
            Some(number) => Ok(InvokerId(*number)),
            None => numbers::of(&name, &*store.entities, now).await,
        };
        let number = opening.patiently("the store does not give this invoker a number", &cancel, number).await?;
        let mut instance = InvokerInstance::new(number, ByteSize::bytes(memory_mb * MB));
        instance.unique_name = id.is_none().then(|| name.clone());
        instance.displayed_name = host_name();
        let connect = async || Ok(KafkaInvoker::connect(config.clone(), instance.clone(), life).await?);
        let bus = opening.patiently("Kafka does not answer", &cancel, connect).await?;
        Some((store, instance, Arc::new(bus)))
    };
    let grace_from_now = || tokio::time::Instant::now() + serve.shutdown_grace;
    let Some((stores, instance, bus)) = opened.await else {
        door.close(grace_from_now()).await;
        return Ok(());
    };

    let number = instance.id;
    let (entities, pressure) = (stores.entities.clone(), spool.pressure());
    let observers = Observers::start(&serve.observing, &number.to_string(), Some(bus.events()))?;
    let (events, tracer) = (observers.events.clone(), observers.tracer.clone());
    let needs = Needs { id: number, bus: bus.clone(), stores, secrets, spool, events, tracer };
    let mut runs = Runs::start(serve, &manifest, &data_dir, None, needs).await?;
    let heart = Heart { bus: bus.clone(), instance, load: runs.load.clone(), life };
    // Consul keeps what it is told now: nothing that changes.
    finding.register_invoker(heart.says(None, true), address);
    let stop_pinging = CancellationToken::new();
    let mut pinging = tokio::spawn(heart.beat(stop_pinging.clone()));
    opening.watch(entities, pressure);
    opening.lacks(Vec::new());
    let (took, role) = (began.elapsed(), format!(" {number}"));
    let standard = Standard { shown: Vec::new() };
    Greeting { settings: serve, address, role: &role, data_dir: &data_dir, place: &place, standard: &standard, took }
        .tell();

    let (ended, reason) = tokio::select! {
        () = cancel.cancelled() => (None, Ok(())),
        ended = runs.ended() => (Some(ended), Ok(())),
        _ = &mut pinging => (None, Err(anyhow!(
            "Kafka has shut this process out: another invoker has the number {}, or its rights are gone", number.0
        ))),
    };

    // First nobody sends anything more; then what is here ends, and is written;
    // then Kafka hears how far that came.
    opening.lacks(vec!["the invoker is shutting down"]);
    let grace = grace_from_now();
    finding.end().await;
    stop_pinging.cancel();
    if !pinging.is_finished() {
        let _ = tokio::time::timeout_at(grace, pinging).await;
    }
    let outcome = runs.drain(grace, ended).await;
    observers.end().await;
    leaving("the bus", bus.leave()).await;
    door.close(grace_from_now()).await;
    upkeep.abort();
    outcome.and(reason)
}

/// Says that this invoker lives.
struct Heart {
    bus: Arc<KafkaInvoker>,
    instance: InvokerInstance,
    load: Load,
    life: Incarnation,
}

impl Heart {
    /// Until cancelled, and then that it takes no more; or until Kafka shuts it out.
    async fn beat(self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = tick.tick() => {}
            }
            if self.bus.is_shut_out() {
                // Whoever has the number now says so itself.
                return;
            }
            self.ping(true).await;
        }
        self.ping(false).await;
    }

    fn says(&self, busy_memory: Option<ByteSize>, enabled: bool) -> InvokerPing {
        let instance = InvokerInstance { busy_memory, ..self.instance.clone() };
        InvokerPing { instance, enabled, incarnation: Some(self.life) }
    }

    async fn ping(&self, enabled: bool) {
        let ping = self.says(Some(ByteSize::bytes(self.load.busy_mb() * MB)), enabled);
        match tokio::time::timeout(PING_PATIENCE, self.bus.ping(&ping)).await {
            Ok(Ok(())) => {}
            // The bus says loudly that it is away; this is one of its signs.
            Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "a ping was not sent"),
            Err(_) => tracing::debug!("a ping could not be sent in time"),
        }
    }
}

/// What this host is called, as far as it can be a part of names.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
