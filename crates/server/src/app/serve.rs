//! `whisker serve`: everything in one process, on its own journal.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use whisker_bus::InvokerId;
use whisker_bus_embedded::EmbeddedBus;
use whisker_controller::{Controller, Parts, Records};
use whisker_dispatch::Dispatch;
use whisker_invoker::Spool;

use super::{
    Greeting,
    door::Door,
    front::Front,
    manifest, now,
    runs::{Needs, Runs},
};
use crate::{
    configure, observers::Observers, platform::Process, retention, secrets, settings::Serve, subjects, telemetry,
};

/// Serves until cancelled, then ends gracefully.
pub async fn serve(settings: &Serve, cancel: CancellationToken) -> anyhow::Result<()> {
    let began = Instant::now();
    let data_dir = settings.data_dir()?;
    let secrets = Arc::new(secrets::read(&settings.keys)?);
    let seals = secrets.seals()?;
    let manifest = Arc::new(manifest()?);

    // First what belongs to one server at a time: a second one ends here.
    let place = configure::store(&settings.store, &seals, &data_dir, settings.durability)?;
    let store = place.open_patiently().await?;
    let bus_config = whisker_bus_embedded::Config { now: Some(now()), ..configure::bus(settings, &seals, &data_dir) };
    let (bus, recovered) = EmbeddedBus::open(bus_config).context("cannot open the bus")?;
    let bus = Arc::new(bus);
    let spool =
        Spool::open(configure::journal(settings, &seals, &data_dir, "spool")).context("cannot open the spool")?;
    let pressure = spool.pressure();
    let records = Records::open(configure::journal(settings, &seals, &data_dir, "records"), store.activations.clone())
        .context("cannot open the journal of promised records")?;
    if recovered.queued + recovered.interrupted + recovered.waiting + recovered.letters > 0 {
        tracing::info!(
            queued = recovered.queued,
            interrupted = recovered.interrupted,
            waiting = recovered.waiting,
            letters = recovered.letters,
            "accepted activations of an earlier life are taken up"
        );
    }

    let door = Door::bind(settings).await?;
    let address = door.address;
    let standard = subjects::ensure(&*store.subjects, settings.listen).await?;

    let metrics = telemetry::count()?;
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let observers = Observers::start(&settings.observing, "whisker", None)?;
    let (events, tracer) = (observers.events.clone(), observers.tracer.clone());
    let platform = Process::new(metrics, Some(pressure));

    let controller = Controller::new(
        whisker_controller::Config {
            events: events.clone(),
            tracer: tracer.clone(),
            ..configure::controller(settings, manifest.clone())
        },
        Parts {
            entities: store.entities.clone(),
            activations: store.activations.clone(),
            subjects: store.subjects.clone(),
            dispatch: Dispatch::new(bus.clone()).traced(tracer.clone()),
            records: records.clone(),
            secrets: secrets.clone(),
            platform: platform.clone(),
        },
    );
    records.recover();
    let mut front = Front::start(controller.clone(), bus.clone(), &data_dir, store.administered(&secrets));
    let door = door.open(controller);

    let needs = Needs { id: InvokerId(0), bus: bus.clone(), stores: store.clone(), secrets, spool, events, tracer };
    let mut runs = Runs::start(settings, &manifest, &data_dir, Some(address), needs).await?;
    platform.set_invoker_up(true);

    let kept = configure::kept(settings, &place);
    let retention = tokio::spawn(retention::run(store.activations.clone(), kept, now, cancel.clone()));
    let took = began.elapsed();
    Greeting { settings, address, role: "", data_dir: &data_dir, place: &place, standard: &standard, took }.tell();

    let ended = tokio::select! {
        () = cancel.cancelled() => None,
        ended = runs.ended() => Some(ended),
    };

    // Requests first, since those that wait need the invoker; then runs. They
    // have one grace, whoever takes how much of it.
    platform.drain();
    let grace = tokio::time::Instant::now() + settings.shutdown_grace;
    door.close(grace).await;
    front.drain(grace).await;
    bus.close();
    platform.set_invoker_up(false);
    let outcome = runs.drain(grace, ended).await;
    cancel.cancel();
    front.end().await;
    let _ = retention.await;
    observers.end().await;
    upkeep.abort();
    outcome
}
