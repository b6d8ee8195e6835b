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
use whisker_sandbox_process::ProcessSandbox;
use whisker_store_embedded::Embedded;

use crate::{
    configure, listener::Listener, platform::Process, retention, secrets, settings::Serve, subjects, telemetry,
};

/// How much longer than the runs' grace the invoker may take at the end, to kill
/// what is left and clear it away.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// How long a start waits for the locks of a server that was just killed, and
/// how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Serves until cancelled, then ends gracefully.
pub async fn serve(settings: &Serve, cancel: CancellationToken) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let data_dir = settings.data_dir()?;
    let secrets = Arc::new(secrets::read(settings)?);
    let manifest =
        Arc::new(Manifest::parse(whisker_sandbox_process::MANIFEST).context("the embedded manifest is good")?);

    // First what belongs to one server at a time: a second one ends here.
    let store = Arc::new(open_store(&configure::store(settings, &data_dir)).await.context("cannot open the store")?);
    let (bus, recovered) = EmbeddedBus::open(configure::bus(settings, &data_dir)).context("cannot open the bus")?;
    let bus = Arc::new(bus);
    let spool = Spool::open(configure::journal(settings, &data_dir, "spool")).context("cannot open the spool")?;
    let records = Records::open(configure::journal(settings, &data_dir, "records"), store.clone())
        .context("cannot open the journal of promised records")?;
    if recovered.queued + recovered.interrupted > 0 {
        tracing::info!(
            queued = recovered.queued,
            interrupted = recovered.interrupted,
            "accepted activations of an earlier life are taken up"
        );
    }

    let listener = Listener::bind(SocketAddr::new(settings.listen, settings.port), settings.connections_max).await?;
    let address = listener.address()?;
    let standard = subjects::ensure(&*store, settings.listen).await?;

    let metrics = telemetry::count()?;
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let sandbox_config = configure::sandbox(settings, &data_dir, address);
    let platform = Process::new(metrics, sandbox_config.archive);

    let dispatch = Dispatch::new(bus.clone());
    let controller = Controller::new(
        configure::controller(settings, manifest.clone()),
        Parts {
            entities: store.clone(),
            activations: store.clone(),
            subjects: store.clone(),
            dispatch,
            records: records.clone(),
            secrets: secrets.clone(),
            platform: platform.clone(),
        },
    );
    records.recover();

    let stop_administering = CancellationToken::new();
    let administering = tokio::spawn(administer(&data_dir, store.clone(), &controller, stop_administering.clone()));
    let stop_listening = CancellationToken::new();
    let listening = tokio::spawn(listener.run(controller.clone(), stop_listening.clone()));

    // Looking at what the host offers blocks for some milliseconds, which the
    // first requests need not wait for.
    let sandbox = tokio::task::spawn_blocking(move || ProcessSandbox::new(sandbox_config))
        .await
        .context("looking at the host ended badly")?
        .context("cannot isolate user code on this host")?;
    let invoker = Invoker::new(
        configure::invoker(settings, &manifest)?,
        whisker_invoker::Parts {
            bus: bus.clone(),
            entities: store.clone(),
            activations: store.clone(),
            sandbox: Arc::new(sandbox),
            secrets,
            spool,
            clock: Arc::new(now),
        },
    );
    let stop_invoking = CancellationToken::new();
    let mut invoking = tokio::spawn(invoker.run(stop_invoking.clone()));
    platform.set_invoker_up(true);

    let retention = tokio::spawn(retention::run(
        store.clone(),
        settings.activations_max_age,
        settings.activations_max_count,
        now,
        cancel.clone(),
    ));
    greet(address, &data_dir, &standard, settings, began.elapsed());

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
    let over = tokio::time::timeout_at(grace, controller.close()).await;
    if over.is_err() {
        tracing::warn!("sequences did not end in time: those that were accepted are recorded as interrupted");
    }
    bus.close();
    platform.set_invoker_up(false);
    stop_invoking.cancel();
    let outcome = match ended {
        Some(ended) => ended,
        None => tokio::time::timeout(settings.shutdown_grace + DRAIN_MARGIN, invoking).await.unwrap_or_else(|_| {
            tracing::warn!("the invoker did not end in time: what it holds is taken up by the next start");
            Ok(Ok(()))
        }),
    };
    cancel.cancel();
    stop_administering.cancel();
    let _ = administering.await;
    let _ = retention.await;
    upkeep.abort();
    outcome.context("the invoker ended badly")?.context("the invoker cannot go on")
}

/// Serves administrators, who ask through the data folder. Without a socket
/// there the server does its work all the same.
fn administer(
    data_dir: &Path,
    subjects: Arc<Embedded>,
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

/// Opens the store, which is one server's at a time.
///
/// One that was killed a moment ago may have left a child between its clone
/// and its exec, which holds that server's locks until then: a supervisor that
/// starts the next one at once should not see it refused.
async fn open_store(config: &whisker_store_embedded::Config) -> Result<Embedded, whisker_store_embedded::OpenError> {
    let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match Embedded::open(config) {
            Err(whisker_store_embedded::OpenError::InUse { .. }) if tokio::time::Instant::now() < patience => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            opened => return opened,
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
fn greet(address: SocketAddr, data_dir: &Path, standard: &subjects::Standard, settings: &Serve, took: Duration) {
    let mut lines = vec![
        format!("whisker {} listens on http://{address}", env!("CARGO_PKG_VERSION")),
        format!("  ready after {} ms; data in {}", took.as_millis(), data_dir.display()),
    ];
    if settings.insecure_no_sandbox {
        lines.push("  user code runs WITHOUT isolation".to_owned());
    }
    lines.extend(standard.shown.iter().map(|(name, key)| format!("  key of {name}: {}", key.expose())));
    if let Some((_, key)) = standard.shown.first() {
        lines.push(format!("  try: curl -u {} http://{address}/api/v1/namespaces/_/actions", key.expose()));
        lines.push(format!("   or: wsk property set --apihost http://{address} --auth {}", key.expose()));
    }
    let text = lines.join("\n") + "\n";
    print!("{text}");
}
