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
use whisker_bus::ControllerId;
use whisker_bus_embedded::EmbeddedBus;
use whisker_controller::{Controller, Limits, Parts, Records};
use whisker_dispatch::Dispatch;
use whisker_entity::{Allowance, LimitRange, LimitRanges, Manifest, Millis};
use whisker_invoker::{Invoker, Spool};
use whisker_pool::{Shape, Stem};
use whisker_sandbox_process::{Nat, ProcessSandbox};
use whisker_store_embedded::Embedded;

use crate::{
    listener::Listener,
    platform::Process,
    retention, secrets,
    settings::{Durability, Network, Serve},
    subjects, telemetry,
    units::Size,
};

/// Requests and then runs get this long to end, each, beyond which they are cut.
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
    let store = Arc::new(open_store(&store_config(settings, &data_dir)).await.context("cannot open the store")?);
    let (bus, recovered) = EmbeddedBus::open(bus_config(settings, &data_dir)).context("cannot open the bus")?;
    let bus = Arc::new(bus);
    let spool = Spool::open(journal_config(settings, &data_dir, "spool")).context("cannot open the spool")?;
    let records = Records::open(journal_config(settings, &data_dir, "records"), store.clone())
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
    let sandbox_config = sandbox_config(settings, &data_dir, address);
    let platform = Process::new(metrics, sandbox_config.archive);

    let dispatch = Dispatch::new(bus.clone());
    let controller = Controller::new(
        controller_config(settings, manifest.clone()),
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
        invoker_config(settings, &manifest)?,
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
        None => tokio::time::timeout(settings.shutdown_grace + DRAIN_MARGIN, invoking).await.unwrap_or(Ok(Ok(()))),
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

/// Processors of this machine.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// The wall clock, for what is dated.
fn now() -> Millis {
    #[expect(clippy::disallowed_methods, reason = "the process's one wall clock, handed to whoever dates something")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Tells how to call what was started. Readers of standard output wait for the
/// first line.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn greet(address: SocketAddr, data_dir: &Path, standard: &subjects::Standard, settings: &Serve, took: Duration) {
    println!("whisker {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  ready after {} ms; data in {}", took.as_millis(), data_dir.display());
    if settings.insecure_no_sandbox {
        println!("  user code runs WITHOUT isolation");
    }
    for (name, key) in &standard.shown {
        println!("  key of {name}: {}", key.expose());
    }
    if let Some((_, key)) = standard.shown.first() {
        println!("  try: curl -u {} http://{address}/api/v1/namespaces/_/actions", key.expose());
        println!("   or: wsk property set --apihost http://{address} --auth {}", key.expose());
    }
}

fn store_config(settings: &Serve, data_dir: &Path) -> whisker_store_embedded::Config {
    let durability = match settings.durability {
        Durability::Process => whisker_store_embedded::Durability::Process,
        Durability::Power => whisker_store_embedded::Durability::Power,
    };
    whisker_store_embedded::Config { durability, ..whisker_store_embedded::Config::new(data_dir) }
}

fn journal_config(settings: &Serve, data_dir: &Path, name: &str) -> whisker_journal::Config {
    let durability = match settings.durability {
        Durability::Process => whisker_journal::Durability::Process,
        Durability::Power => whisker_journal::Durability::Power,
    };
    whisker_journal::Config { durability, ..whisker_journal::Config::new(data_dir.join(name)) }
}

fn bus_config(settings: &Serve, data_dir: &Path) -> whisker_bus_embedded::Config {
    whisker_bus_embedded::Config {
        queue_messages: settings.queue_max,
        ..whisker_bus_embedded::Config::new(journal_config(settings, data_dir, "bus"))
    }
}

/// What any namespace may get, and what one without limits of its own gets.
fn allowances(settings: &Serve) -> (Allowance, Allowance) {
    let base = Allowance::default();
    let up_to = |range: LimitRange, max: u64| LimitRange { max: max.max(range.min), ..range };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let most = Allowance {
        actions: LimitRanges {
            timeout_ms: up_to(base.actions.timeout_ms, millis(settings.action_timeout_max)),
            memory_mb: up_to(base.actions.memory_mb, settings.action_memory_max.megabytes()),
            logs_mb: up_to(base.actions.logs_mb, settings.action_logs_max.megabytes()),
            concurrency: up_to(base.actions.concurrency, settings.action_concurrency_max.into()),
        },
        payload_bytes: settings.payload_max.0,
        truncation_bytes: settings.truncation_max.unwrap_or(settings.payload_max).0,
        ..base
    };
    let no_more = |range: LimitRange, max: Option<u64>| up_to(range, max.unwrap_or(range.max).min(range.max));
    let unset = Allowance {
        actions: LimitRanges {
            timeout_ms: no_more(most.actions.timeout_ms, settings.namespace_timeout_max.map(millis)),
            memory_mb: no_more(most.actions.memory_mb, settings.namespace_memory_max.map(Size::megabytes)),
            logs_mb: no_more(most.actions.logs_mb, settings.namespace_logs_max.map(Size::megabytes)),
            concurrency: no_more(most.actions.concurrency, settings.namespace_concurrency_max.map(Into::into)),
        },
        payload_bytes: settings.namespace_payload_max.unwrap_or(settings.payload_max).0,
        ..most
    };
    (most, unset)
}

fn controller_config(settings: &Serve, manifest: Arc<Manifest>) -> whisker_controller::Config {
    let (most, unset) = allowances(settings);
    let base = Limits::default();
    let limits = Limits {
        actions: most.actions,
        unset: Some(unset),
        parameters_max_bytes: most.parameters_bytes,
        payload_max_bytes: most.payload_bytes,
        truncation_max_bytes: most.truncation_bytes,
        invocations_per_minute: settings.invocations_per_minute,
        concurrent_invocations: settings.concurrent_invocations,
        fires_per_minute: settings.fires_per_minute,
        code_max_bytes: settings.action_code_max.0,
        // Code comes as JSON text, with parameters beside it.
        body_max_bytes: base.body_max_bytes.max(settings.action_code_max.0 + 2 * most.parameters_bytes),
        blocking_wait: settings.blocking_wait,
        ..base
    };
    whisker_controller::Config {
        id: ControllerId("0".into()),
        manifest,
        limits,
        build_date: env!("WHISKER_BUILD_DATE").into(),
        build_number: env!("CARGO_PKG_VERSION").into(),
    }
}

fn invoker_config(settings: &Serve, manifest: &Manifest) -> anyhow::Result<whisker_invoker::Config> {
    let (most, unset) = allowances(settings);
    let user_memory_mb = match settings.container_memory {
        Some(size) => size.megabytes(),
        None => (memory_of_this_machine()? * 6 / 10) >> 20,
    };
    let stem = |runtime: &whisker_entity::Runtime| {
        let kind: Arc<str> = runtime.kind.as_str().into();
        let cells = runtime.stem_cells.iter().filter_map(move |cells| {
            let shape = Shape { kind: kind.clone(), memory_mb: cells.memory_mb()?, concurrent: false };
            Some(Stem { shape, count: cells.initial_count })
        });
        cells.collect::<Vec<_>>()
    };
    let prewarm = if settings.no_prewarm { Vec::new() } else { manifest.runtimes().flat_map(stem).collect() };
    Ok(whisker_invoker::Config {
        user_memory_mb,
        pause_grace: Some(settings.pause_grace),
        keep_warm: settings.keep_warm,
        parallel: processors().max(2),
        prewarm,
        most,
        unset: Some(unset),
        stop_grace: settings.shutdown_grace,
        ..whisker_invoker::Config::default()
    })
}

/// Bytes of memory that this machine has.
fn memory_of_this_machine() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("cannot see how much memory this machine has")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.trim().strip_suffix("kB")).and_then(|n| n.trim().parse::<u64>().ok());
    Ok(kilobytes.context("cannot see how much memory this machine has: use --container-memory")? << 10)
}

fn sandbox_config(settings: &Serve, data_dir: &Path, address: SocketAddr) -> whisker_sandbox_process::Config {
    let network = match settings.network {
        Network::Nat => {
            whisker_sandbox_process::Network::Nat(Nat { denied: settings.network_deny.clone(), ..Nat::default() })
        }
        Network::None => whisker_sandbox_process::Network::None,
        Network::Host => whisker_sandbox_process::Network::Host,
    };
    let api_host = settings.api_host.clone().unwrap_or_else(|| format!("http://{address}"));
    whisker_sandbox_process::Config {
        network,
        cgroup_parent: settings.cgroup_parent.clone(),
        log_cap_bytes: settings.action_logs_max.0 + (1 << 20),
        environment: [("__OW_API_HOST".to_owned(), api_host)].into(),
        insecure_no_sandbox: settings.insecure_no_sandbox,
        ..whisker_sandbox_process::Config::new(data_dir.join("sandbox"))
    }
}
