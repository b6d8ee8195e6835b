//! `whisker controller`: the REST API of a cluster, and the choice of invokers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;
use whisker_bus::{ControllerBus as _, ControllerId};
use whisker_bus_kafka::KafkaController;
use whisker_controller::{Controller, Parts, Records};
use whisker_dispatch::Dispatch;

use super::{
    Greeting,
    door::Door,
    front::Front,
    incarnation, leaving, manifest, now,
    opening::{Desk, Opening},
    shared,
};
use crate::{
    cluster, configure, discovery::Finding, kafka, observers::Observers, platform::Process, retention, secrets,
    settings, subjects, telemetry,
};

/// How long a controller that starts waits for invokers before it takes requests.
const FIRST_INVOKERS: Duration = Duration::from_secs(5);

/// Serves until cancelled, then ends gracefully.
pub async fn controller(settings: &settings::Controller, cancel: CancellationToken) -> anyhow::Result<()> {
    let began = Instant::now();
    let settings::Controller { id, cluster, discovery, placing, serve } = settings;
    cluster::check_name("--id", id)?;
    let me = ControllerId(id.as_str().into());
    let data_dir = serve.data_dir()?.join(format!("controller-{id}"));
    let secrets = Arc::new(secrets::read(&serve.keys)?);
    let seals = secrets.seals()?;
    let manifest = Arc::new(manifest()?);
    let place = shared(configure::store(&serve.store, &seals, &data_dir, serve.durability)?)?;
    let config = kafka::config(cluster, serve, kafka::clock(now))?;
    let placement = kafka::placement(placing, cluster, serve)?;
    let life = incarnation()?;
    let mut finding = Finding::new(discovery)?;

    let metrics = telemetry::count()?;
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let opening = Opening::new(metrics.clone());
    let desk = Desk::new(opening.clone());
    let door = Door::bind(serve).await?;
    let address = door.address;
    tracing::info!(%address, controller = %id, "waiting for the store and for Kafka");
    let door = door.open(desk.clone());
    let opened = async {
        let store = opening.patiently("the store does not answer", &cancel, async || place.open().await).await?;
        let prepare = async || subjects::ensure(&*store.subjects, serve.listen).await;
        let standard = opening.patiently("the store does not answer", &cancel, prepare).await?;
        let connect = async || Ok(KafkaController::connect(config.clone(), me.clone()).await?);
        let bus = opening.patiently("Kafka does not answer", &cancel, connect).await?;
        Some((store, standard, Arc::new(bus)))
    };
    let Some((store, standard, bus)) = opened.await else {
        door.close(tokio::time::Instant::now() + serve.shutdown_grace).await;
        return Ok(());
    };

    let records = Records::open(configure::journal(serve, &seals, &data_dir, "records"), store.activations.clone())
        .context("cannot open the journal of promised records")?;
    let observers = Observers::start(&serve.observing, &format!("controller{id}"), Some(bus.events()))?;
    let platform = Process::new(metrics, None);
    let controller = Controller::new(
        whisker_controller::Config {
            id: me.clone(),
            events: observers.events.clone(),
            tracer: observers.tracer.clone(),
            ..configure::controller(serve, manifest)
        },
        Parts {
            entities: store.entities.clone(),
            activations: store.activations.clone(),
            subjects: store.subjects.clone(),
            dispatch: Dispatch::among(bus.clone(), me.clone(), life, placement).traced(observers.tracer.clone()),
            records: records.clone(),
            secrets: secrets.clone(),
            platform: platform.clone(),
        },
    );
    records.recover();
    bus.follow(finding.follow(controller.clone()));
    let prepare = async || Ok(controller.prepare_tests().await?);
    let Some(tests) = opening.patiently("the store does not answer", &cancel, prepare).await else {
        door.close(tokio::time::Instant::now() + serve.shutdown_grace).await;
        return Ok(());
    };
    let stop_living = CancellationToken::new();
    let living = controller.clone();
    let end_of_life = stop_living.clone();
    let mut living = tokio::spawn(async move { living.live_among_others(tests, end_of_life).await });
    let mut front = Front::start(controller.clone(), bus.clone(), &data_dir, store.administered(&secrets));
    let kept = configure::kept(serve, &place);
    let retention = tokio::spawn(retention::run(store.activations.clone(), kept, now, cancel.clone()));
    // Others invoke meanwhile; but if nobody can, reads are answered all the same.
    opening.lacks(vec!["no invoker takes work"]);
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = tokio::time::timeout(FIRST_INVOKERS, controller.await_invokers()) => {}
    }
    desk.seat(controller.clone());
    finding.register_controller(&me, address);
    let (took, role) = (began.elapsed(), format!(" controller {id}"));
    let standard = standard.confirmed(&*store.subjects).await;
    let (data_dir, place, standard) = (&data_dir, &place, &standard);
    Greeting { settings: serve, address, role: &role, data_dir, place, standard, took }.tell();

    let outcome = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        () = controller.displaced() => Err(anyhow!("another controller lives that has the --id {id}: give this one another")),
        _ = &mut living => Err(anyhow!("the life among other controllers ended unexpectedly")),
    };

    // No more requests, then those that are there; the others are told at the
    // end, so that they share the limits with this one until then.
    platform.drain();
    let grace = tokio::time::Instant::now() + serve.shutdown_grace;
    door.close(grace).await;
    bus.close();
    front.drain(grace).await;
    // Parts of sequences needed to know the invokers until now.
    finding.end().await;
    stop_living.cancel();
    if !living.is_finished() {
        let _ = tokio::time::timeout_at(grace, living).await;
    }
    observers.end().await;
    leaving("the bus", bus.leave()).await;
    cancel.cancel();
    front.end().await;
    leaving("forgetting old records", retention).await;
    upkeep.abort();
    outcome
}
