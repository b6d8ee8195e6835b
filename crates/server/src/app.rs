//! The parts of `whisker serve`, built in the order in which they need each
//! other and ended in the reverse.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use whisker_bus_embedded::EmbeddedBus;
use whisker_controller::{Controller, Parts, Records};
use whisker_dispatch::Dispatch;
use whisker_entity::{Manifest, Millis};
use whisker_invoker::{Invoker, Spool};
use whisker_sandbox::Sandbox;
use whisker_sandbox_docker::DockerSandbox;
use whisker_sandbox_process::ProcessSandbox;
use whisker_store::Subjects;

use crate::{
    configure, docker,
    listener::Listener,
    platform::Process,
    proxies::Proxies,
    retention, secrets,
    settings::{Containers, Serve},
    stores::Place,
    subjects, telemetry,
};

/// How much longer than the runs' grace the invoker may take at the end, to kill
/// what is left and clear it away.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Serves until cancelled, then ends gracefully.
pub async fn serve(settings: &Serve, cancel: CancellationToken) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let data_dir = settings.data_dir()?;
    let secrets = Arc::new(secrets::read(settings)?);
    let manifest =
        Arc::new(Manifest::parse(whisker_sandbox_process::MANIFEST).context("the embedded manifest is good")?);

    // First what belongs to one server at a time: a second one ends here.
    let place = configure::store(&settings.store, &data_dir, settings.durability)?;
    let store = place.open_patiently().await?;
    let bus_config = whisker_bus_embedded::Config { now: Some(now()), ..configure::bus(settings, &data_dir) };
    let (bus, recovered) = EmbeddedBus::open(bus_config).context("cannot open the bus")?;
    let bus = Arc::new(bus);
    let spool = Spool::open(configure::journal(settings, &data_dir, "spool")).context("cannot open the spool")?;
    let pressure = spool.pressure();
    let records = Records::open(configure::journal(settings, &data_dir, "records"), store.activations.clone())
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

    let tls = configure::tls(settings)?;
    let listen = SocketAddr::new(settings.listen, settings.port);
    let listener = Listener::bind(listen, settings.connections_max, settings.connections_per_address).await?;
    let listener = listener.secured(tls.clone()).behind(Proxies::new(settings.trusted_proxy.clone()));
    let address = listener.address()?;
    let standard = subjects::ensure(&*store.subjects, settings.listen).await?;

    let metrics = telemetry::count()?;
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let sandbox_config = configure::sandbox(settings, &data_dir, address);
    let platform = Process::new(metrics, sandbox_config.archive, pressure);

    let dispatch = Dispatch::new(bus.clone());
    let controller = Controller::new(
        configure::controller(settings, manifest.clone()),
        Parts {
            entities: store.entities.clone(),
            activations: store.activations.clone(),
            subjects: store.subjects.clone(),
            dispatch,
            records: records.clone(),
            secrets: secrets.clone(),
            platform: platform.clone(),
        },
    );
    records.recover();
    let hearing = controller.clone();
    let hearing = tokio::spawn(async move { hearing.hear_changes().await });

    let stop_administering = CancellationToken::new();
    let administering =
        tokio::spawn(administer(&data_dir, store.subjects.clone(), &controller, stop_administering.clone()));
    let stop_listening = CancellationToken::new();
    let listening = tokio::spawn(listener.run(controller.clone(), stop_listening.clone()));
    let renewing = tls.map(|tls| tokio::spawn(tls.run(stop_listening.clone())));
    let posting = tokio::spawn(controller.clone().post_letters(bus.clone(), stop_listening.clone()));

    let mut invoker_config = configure::invoker(settings, &manifest)?;
    let sandbox: Arc<dyn Sandbox> = match settings.containers {
        // Looking at what the host offers blocks for some milliseconds, which
        // the first requests need not wait for.
        Containers::Sandbox => Arc::new(
            tokio::task::spawn_blocking(move || ProcessSandbox::new(sandbox_config))
                .await
                .context("looking at the host ended badly")?
                .context("cannot isolate user code on this host")?,
        ),
        Containers::Docker => {
            let config = docker::config(settings, &data_dir, address, invoker_config.user_memory_mb);
            invoker_config = docker::invoker(settings, invoker_config);
            Arc::new(DockerSandbox::connect(config).await.context("cannot have containers of Docker")?)
        }
    };
    let invoker = Invoker::new(
        invoker_config,
        whisker_invoker::Parts {
            bus: bus.clone(),
            entities: store.entities.clone(),
            activations: store.activations.clone(),
            sandbox,
            secrets,
            spool,
            clock: Arc::new(now),
        },
    );
    let (stop_invoking, hurry) = (CancellationToken::new(), CancellationToken::new());
    let mut invoking = tokio::spawn(invoker.run_until(stop_invoking.clone(), hurry.clone()));
    platform.set_invoker_up(true);

    let kept = configure::kept(settings, &place);
    let retention = tokio::spawn(retention::run(store.activations.clone(), kept, now, cancel.clone()));
    greet(address, &data_dir, &place, &standard, settings, began.elapsed());

    let ended = tokio::select! {
        () = cancel.cancelled() => None,
        ended = &mut invoking => Some(ended),
    };

    // Requests first, since those that wait need the invoker; then runs.
    platform.drain();
    stop_listening.cancel();
    let grace = tokio::time::Instant::now() + settings.shutdown_grace;
    let over = tokio::time::timeout_at(grace, listening).await;
    if over.is_err() {
        tracing::warn!("requests did not end in time and are cut off");
    }
    // One at a time is fired, and a fire that began ends among the sequences.
    let _ = tokio::time::timeout_at(grace, posting).await;
    let over = tokio::time::timeout_at(grace, controller.close()).await;
    if over.is_err() {
        tracing::warn!("sequences did not end in time: those that were accepted are recorded as interrupted");
    }
    // Requests and runs have one grace, whoever takes how much of it.
    let hurrying = tokio::spawn(async move {
        tokio::time::sleep_until(grace).await;
        hurry.cancel();
    });
    bus.close();
    platform.set_invoker_up(false);
    stop_invoking.cancel();
    let outcome = match ended {
        Some(ended) => ended,
        None => tokio::time::timeout_at(grace + DRAIN_MARGIN, invoking).await.unwrap_or_else(|_| {
            tracing::warn!("the invoker did not end in time: what it holds is taken up by the next start");
            Ok(Ok(()))
        }),
    };
    hurrying.abort();
    cancel.cancel();
    stop_administering.cancel();
    let _ = administering.await;
    if let Some(renewing) = renewing {
        let _ = renewing.await;
    }
    let _ = retention.await;
    hearing.abort();
    upkeep.abort();
    outcome.context("the invoker ended badly")?.context("the invoker cannot go on")
}

/// Serves administrators, who ask through the data folder. Without a socket
/// there the server does its work all the same.
fn administer(
    data_dir: &Path,
    subjects: Arc<dyn Subjects>,
    controller: &Arc<Controller>,
    cancel: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let socket = whisker_admin::Socket::open(data_dir);
    let controller = controller.clone();
    async move {
        match socket {
            Ok(socket) => socket.run(subjects, move || controller.forget_identities(), cancel).await,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "users cannot be administered while this server runs");
            }
        }
    }
}

/// The wall clock, for what is dated.
fn now() -> Millis {
    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock of whoever is handed one; the controller reads its own"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Tells how to call what was started. In one write: whoever has read the
/// first line has the rest as well.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn greet(
    address: SocketAddr,
    data_dir: &Path,
    place: &Place,
    standard: &subjects::Standard,
    settings: &Serve,
    took: Duration,
) {
    let url = configure::url(settings, address);
    let mut lines = vec![
        format!("whisker {} listens on {url}", env!("CARGO_PKG_VERSION")),
        format!("  ready after {} ms; data in {}", took.as_millis(), data_dir.display()),
    ];
    if place.folder().is_none_or(|folder| folder != data_dir) {
        lines.push(format!("  store: {}", place.shown()));
    }
    if settings.insecure_no_sandbox {
        lines.push("  user code runs WITHOUT isolation".to_owned());
    }
    lines.extend(standard.shown.iter().map(|(name, key)| format!("  key of {name}: {}", key.expose())));
    if let Some((_, key)) = standard.shown.first() {
        lines.push(format!("  try: curl -u {} {url}/api/v1/namespaces/_/actions", key.expose()));
        lines.push(format!("   or: wsk property set --apihost {url} --auth {}", key.expose()));
    }
    let text = lines.join("\n") + "\n";
    print!("{text}");
}
