//! Measures Whisker as its users meet it, and beside it, in the same run, the
//! floor: the least that the same job costs on this machine, without platform.
//!
//! Absolute figures hold on one machine and one day. So every goal is a ratio
//! of two figures taken in turns, or a bound that leaves room; the table at
//! the end says which are reached. A bench is no test: it ends well whatever
//! it finds, and fails only when it could not measure.
//!
//! It needs the release binary `whisker` beside its own, or `WHISKER_BIN`.

mod accept;
mod beside;
mod client;
mod cluster;
mod cold;
mod crowd;
mod density;
mod depth;
mod flat;
mod floor;
mod idle;
mod language;
mod languages;
mod latencies;
mod neighbour;
mod report;
mod server;
mod warm;

use std::{net::SocketAddr, os::unix::process::CommandExt, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

use crate::{
    client::{Load, Until},
    report::Report,
};

/// Measures the real binary beside the floor that the machine allows.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// What to measure [default: all but docker and cluster]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Times that everything is measured; the table shows medians
    #[arg(long, default_value = "3")]
    rounds: usize,
    /// Length of one measurement of a rate, in seconds
    #[arg(long, default_value = "3")]
    seconds: u64,
    /// Records in the full store
    #[arg(long, default_value = "1000000")]
    records: u64,
    /// Actions in the full store
    #[arg(long, default_value = "100000")]
    actions: u64,
    /// Instead send blocking calls of the action `hello` to a server that runs, to profile it
    #[arg(long)]
    load: Option<SocketAddr>,
    /// How many of those are in flight
    #[arg(long, default_value = "1")]
    connections: usize,
    /// Serve the floor, as a child of the bench
    #[arg(long, hide = true)]
    serve_floor: Option<floor::Kind>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Goals 1 and 2: warm blocking calls, alone and many at once.
    Warm,
    /// Goal 3: non-blocking invocations accepted, and their records.
    Accept,
    /// Goal 4: what the first call costs, and one after a pause.
    Cold,
    /// What starts cost in each language.
    Languages,
    /// What they cost in containers of a Docker daemon; takes dockerd, root and whisker-action-proxy.
    Docker,
    /// What more invokers bring, on Kafka and PostgreSQL; takes what `make test` installs.
    Cluster,
    /// How many idle containers memory holds, in each language.
    Density,
    /// A warm call beside one that misbehaves.
    Neighbour,
    /// Goal 5: start, memory, size.
    Idle,
    /// Goal 6: a full store beside an empty one.
    Flat,
    /// Goal 6: a thousand idle containers, which take 6 GB, beside none.
    Crowd,
    /// Goal 7: sequences, and triggers with many rules.
    Depth,
    /// What the machine does without any server.
    Bare,
}

impl Settings {
    /// Length of one measurement of a rate.
    pub fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The numbers of the rounds.
    pub fn rounds(&self) -> std::ops::Range<usize> {
        0..self.rounds.max(1)
    }
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    if let Some(kind) = settings.serve_floor {
        return floor::serve(kind);
    }
    if let Some(address) = settings.load {
        return load(&settings, address);
    }
    let binary = name_the_binary()?;
    let mut parts = settings.parts.clone();
    if parts.is_empty() {
        parts = Part::value_variants()
            .iter()
            .copied()
            .filter(|part| !matches!(part, Part::Docker | Part::Cluster))
            .collect();
    }
    let mut report = Report::new(settings.rounds().len());
    for part in parts {
        eprintln!("measuring: {part:?}");
        match part {
            Part::Warm => warm::measure(&settings, &mut report),
            Part::Accept => accept::measure(&settings, &mut report),
            Part::Cold => cold::measure(&settings, &mut report),
            Part::Languages => languages::measure(&settings),
            Part::Docker => languages::measure_on_docker(&settings),
            Part::Cluster => cluster::measure(&settings),
            Part::Density => density::measure(&settings),
            Part::Neighbour => neighbour::measure(&settings, &mut report),
            Part::Idle => idle::measure(&settings, &binary, &mut report),
            Part::Flat => flat::measure(&settings, &mut report),
            Part::Crowd => crowd::measure(&settings, &mut report),
            Part::Depth => depth::measure(&settings, &mut report),
            Part::Bare => floor::bare::measure(&settings, &mut report),
        }
        .with_context(|| format!("cannot measure {part:?}"))?;
    }
    report.print();
    Ok(())
}

/// Load alone, without comparison.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn load(settings: &Settings, address: SocketAddr) -> anyhow::Result<()> {
    let requests = [server::invocation("hello", "blocking=true")];
    let load = Load { address, requests: &requests, connections: settings.connections, status: 200 };
    let times = load.run(Until::Passed(settings.length()))?;
    println!(
        "{:.0}/s, p50 {:.0} µs, p90 {:.0} µs, p99 {:.0} µs",
        times.rate(),
        times.p50(),
        times.micros(0.9),
        times.p99()
    );
    Ok(())
}

/// Where the binary under test is. The testkit looks for it beside tests; the
/// bench lies elsewhere, and so says it in a variable, by starting anew.
fn name_the_binary() -> anyhow::Result<PathBuf> {
    const NAMED: &str = "WHISKER_BIN";
    if let Some(path) = std::env::var_os(NAMED) {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    let path = me.with_file_name("whisker");
    if !path.exists() {
        bail!("{} is missing; `cargo build --release -p whisker-server` makes it", path.display());
    }
    Err(Command::new(me).args(std::env::args_os().skip(1)).env(NAMED, path).exec().into())
}
