//! What a process is made of, by its role: parts built in the order in which
//! they need each other and ended in the reverse.
//!
//! The pieces are the same for all: the [`door`] (a port), the [`front`] behind
//! it (the REST API), and the [`runs`] (an invoker and its sandbox).

mod controller;
mod door;
mod front;
mod invoker;
mod opening;
mod runs;
mod serve;

pub use controller::controller;
pub use invoker::invoker;
pub use serve::serve;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use whisker_bus::Incarnation;
use whisker_entity::{Manifest, Millis};

use crate::{configure, settings::Serve, stores::Place, subjects};

/// The kinds that this binary knows.
pub fn manifest() -> anyhow::Result<Manifest> {
    Manifest::parse(whisker_sandbox_process::MANIFEST).context("the embedded manifest is good")
}

/// How long what a role ends with may take: without Kafka or the store nothing
/// of that would ever be over, and what was accepted is safe by then.
const LEAVING: Duration = Duration::from_secs(20);

/// Waits for an end, and not for ever.
async fn leaving(what: &str, end: impl Future) {
    if tokio::time::timeout(LEAVING, end).await.is_err() {
        tracing::warn!("{what} did not end in time and is left behind");
    }
}

/// The store of a cluster, unless it is one that a process has for itself.
fn shared(place: Place) -> anyhow::Result<Place> {
    match place {
        Place::Embedded(_) => bail!(
            "a cluster needs a store that all its processes share: say where it is with --store \
             (postgres://USER@HOST/DATABASE, couchdb://USER@HOST or cosmos://HOST/DATABASE); a SQLite file \
             is one process's"
        ),
        place => Ok(place),
    }
}

/// Names this life of the process: when it began, and random bits.
fn incarnation() -> anyhow::Result<Incarnation> {
    const RANDOM_BITS: u32 = 20;
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).context("there is no randomness")?;
    let random = u64::from(u32::from_ne_bytes(bytes) >> (u32::BITS - RANDOM_BITS));
    Ok(Incarnation(now() << RANDOM_BITS | random))
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

/// What a start tells on standard output.
struct Greeting<'a> {
    settings: &'a Serve,
    address: std::net::SocketAddr,
    /// What the process is, beside its name and version; empty for `serve`.
    role: &'a str,
    data_dir: &'a Path,
    place: &'a Place,
    standard: &'a subjects::Standard,
    took: Duration,
}

impl Greeting<'_> {
    /// Tells how to call what was started. In one write: whoever has read the
    /// first line has the rest as well.
    #[expect(clippy::print_stdout, reason = "this is what the command answers")]
    fn tell(&self) {
        let Greeting { settings, address, role, data_dir, place, standard, took } = self;
        let url = configure::url(settings, *address);
        let mut lines = vec![
            format!("whisker {}{role} listens on {url}", env!("CARGO_PKG_VERSION")),
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
}
