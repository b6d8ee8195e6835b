//! Settings as each part wants them: what was typed becomes the parts' own
//! `Config`s here, and nowhere else. Nothing is started.

use std::{env, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use whisker_bus::ControllerId;
use whisker_controller::Limits;
use whisker_entity::{Allowance, LimitRange, LimitRanges, Manifest};
use whisker_firewall::Reach;
use whisker_pool::{KeepPolicy, Shape, Stem};
use whisker_sandbox_process::Nat;
use whisker_secrets::Seals;

use crate::{
    callback::Callback,
    retention::Kept,
    secrets,
    settings::{self, Durability, KeepWarmPolicy, Network, Serve},
    stores::Place,
    tls::Tls,
    units::Size,
};

/// Records are kept so long, unless settings say otherwise, and so many.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_COUNT: u64 = 10_000_000;

/// Of the store that a URL names, with what is encrypted in it; of a file, `data_dir` is its folder unless
/// the URL says otherwise.
///
/// A password is never a flag of its own, since the command lines of all
/// processes can be read by every user of a machine: a file has it, a variable
/// of the environment, or, as `psql` and `curl` allow, the URL.
pub fn store(
    settings: &settings::Store,
    seals: &Seals,
    data_dir: &Path,
    durability: Durability,
) -> anyhow::Result<Place> {
    let variable = "WHISKER_STORE_PASSWORD";
    let password = match (&settings.password_file, env::var_os(variable)) {
        (None, None) => None,
        (Some(_), Some(_)) => bail!("{variable} is set, and a file is given as well: which of them is it?"),
        (Some(file), None) => {
            Some(secrets::read_file(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
        (None, Some(text)) => Some(text.into_string().ok().with_context(|| format!("{variable} is no text"))?),
    };
    let password = password.as_deref().map(str::trim_end);
    let place = place(&settings.url, password, data_dir, durability, settings.connections)?;
    Ok(place.sealed_with(seals))
}

/// Where the store of a URL is.
pub fn place(
    url: &str,
    password: Option<&str>,
    data_dir: &Path,
    durability: Durability,
    connections: usize,
) -> anyhow::Result<Place> {
    match url.split_once(':').map_or((url, None), |(scheme, rest)| (scheme, Some(rest))) {
        ("sqlite", folder) => {
            let durability = match durability {
                Durability::Process => whisker_store_embedded::Durability::Process,
                Durability::Power => whisker_store_embedded::Durability::Power,
            };
            let folder = folder.map_or(data_dir, |folder| Path::new(folder.strip_prefix("//").unwrap_or(folder)));
            let config = whisker_store_embedded::Config::new(folder);
            Ok(Place::Embedded(whisker_store_embedded::Config { durability, ..config }))
        }
        ("postgres" | "postgresql", Some(_)) => {
            let mut config = whisker_store_postgres::Config::parse(url, password)?;
            config.connections = connections;
            Ok(Place::Postgres(config))
        }
        ("couchdb" | "couchdbs", Some(_)) => {
            let config = whisker_store_couchdb::Config::parse(url, password)?;
            Ok(Place::CouchDb(whisker_store_couchdb::Config { connections, ..config }))
        }
        ("cosmos", Some(_)) => {
            let config = whisker_store_cosmos::Config::parse(url, password)?;
            Ok(Place::Cosmos(whisker_store_cosmos::Config { connections, ..config }))
        }
        // What it is instead may hold a password.
        _ => bail!(
            "a store is sqlite, sqlite:FOLDER, postgres://USER@HOST/DATABASE, couchdb://USER@HOST \
             or cosmos://HOST/DATABASE"
        ),
    }
}

/// Of the journal of this name: the bus's, the spool's, the records'.
pub fn journal(settings: &Serve, seals: &Seals, data_dir: &Path, name: &str) -> whisker_journal::Config {
    let durability = match settings.durability {
        Durability::Process => whisker_journal::Durability::Process,
        Durability::Power => whisker_journal::Durability::Power,
    };
    whisker_journal::Config { durability, seals: seals.clone(), ..whisker_journal::Config::new(data_dir.join(name)) }
}

/// Which records are kept. What is in a CouchDB or a Cosmos DB may be another's,
/// and older than this server: none of it goes unless that is asked for.
pub fn kept(settings: &Serve, place: &Place) -> Kept {
    let ours = !matches!(place, Place::CouchDb(_) | Place::Cosmos(_));
    Kept {
        max_age: settings.activations_max_age.or(ours.then_some(MAX_AGE)),
        max_count: settings.activations_max_count.or(ours.then_some(MAX_COUNT)),
    }
}

/// Of the bus.
pub fn bus(settings: &Serve, seals: &Seals, data_dir: &Path) -> whisker_bus_embedded::Config {
    whisker_bus_embedded::Config {
        queue_messages: settings.queue_max,
        aside_messages: settings.retries_max,
        ..whisker_bus_embedded::Config::new(journal(settings, seals, data_dir, "bus"))
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

/// Of the controller.
pub fn controller(settings: &Serve, manifest: Arc<Manifest>) -> whisker_controller::Config {
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
        events: whisker_events::Events::off(),
        tracer: whisker_traces::Tracer::off(),
    }
}

/// Of the invoker.
pub fn invoker(settings: &Serve, manifest: &Manifest) -> anyhow::Result<whisker_invoker::Config> {
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
        keep_policy: match settings.keep_warm_policy {
            KeepWarmPolicy::Fixed => KeepPolicy::Fixed,
            KeepWarmPolicy::Learnt => KeepPolicy::Learnt,
        },
        parallel: processors().max(2),
        serial: manifest.runtimes().filter(|kind| !kind.concurrent).map(|kind| kind.kind.clone()).collect(),
        prewarm,
        // Blank ones go after idle ones when memory is short, so that they are
        // given a share of it and no more.
        prewarm_learnt_mb: if settings.no_prewarm { 0 } else { user_memory_mb / 4 },
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

/// Of the listener, if it is to speak TLS.
pub fn tls(settings: &Serve) -> anyhow::Result<Option<Tls>> {
    // One is not taken without the other.
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
    Tls::open(certificate, key).map(Some).context("cannot serve HTTPS")
}

/// By which the server is called where it listens.
pub fn url(settings: &Serve, address: SocketAddr) -> String {
    format!("{}://{address}", scheme(settings))
}

/// Of URLs by which the server is called.
pub fn scheme(settings: &Serve) -> &'static str {
    if settings.tls_cert.is_some() { "https" } else { "http" }
}

/// Of the sandbox, whose functions call back like this.
pub fn sandbox(
    settings: &Serve,
    data_dir: &Path,
    callback: &Callback,
    reach: Reach,
) -> whisker_sandbox_process::Config {
    let nat = Nat { reach, ..Nat::default() };
    let api_host = callback.url(nat.gateway());
    let network = match settings.network {
        Network::Nat => whisker_sandbox_process::Network::Nat(nat),
        Network::None => whisker_sandbox_process::Network::None,
        Network::Host => whisker_sandbox_process::Network::Host,
    };
    settings.preparing.set(whisker_sandbox_process::Config {
        network,
        cgroup_parent: settings.cgroup_parent.clone(),
        log_cap_bytes: settings.action_logs_max.0 + (1 << 20),
        environment: [("__OW_API_HOST".to_owned(), api_host)].into(),
        insecure_no_sandbox: settings.insecure_no_sandbox,
        ..whisker_sandbox_process::Config::new(data_dir.join("sandbox"))
    })
}

/// Processors of this machine.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
