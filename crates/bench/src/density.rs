//! How many idle containers of each language a GiB of memory holds: frozen, as
//! they are after the pause grace, each with its action loaded and run once.
//!
//! Counted is the proportional share of each process (what it has alone, and
//! its part of what several have mapped, such as the interpreter's program
//! file), and beside it what the kernel charges the container's cgroup, which
//! has the files that it was the first to touch and not those of the others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use whisker_testkit::pause;

use crate::{Settings, language::Language, report::show, server};

/// Containers of one language at a time.
const CONTAINERS: usize = 12;

/// Measures all of them, and prints a table of its own.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
pub fn measure(_: &Settings) -> anyhow::Result<()> {
    println!("{CONTAINERS} containers of each, paused; of one of them:\n");
    println!("| language | proportional share | charged to its cgroup | containers per GiB |");
    println!("| --- | --- | --- | --- |");
    for language in Language::all()? {
        let parent = format!("whisker-bench-{}", std::process::id());
        let builder = server::builder().switch("--no-prewarm").flag("--pause-grace", "50ms");
        let whisker = builder.flag("--cgroup-parent", &parent).flag("--spare-containers", "0").start();
        let guest = whisker.guest();
        if !language.runs_here(&guest) {
            continue;
        }
        for number in 1..CONTAINERS {
            let name = format!("idle-{number}");
            language.create(&guest, &name);
            server::call_ms(&guest, &name);
        }
        pause(4 * server::TICK);
        let groups = groups(&parent);
        let shares: u64 = groups.iter().map(|group| proportional_kb(group)).sum::<anyhow::Result<u64>>()?;
        let charged = groups.iter().filter_map(|group| charged_bytes(group)).sum::<u64>();
        let share_mb = shares as f64 / 1024.0 / CONTAINERS as f64;
        println!(
            "| {} | {} MB | {} MB | {} |",
            language.name,
            show(share_mb),
            show(charged as f64 / f64::from(1 << 20) / CONTAINERS as f64),
            show((1024.0 / share_mb).floor())
        );
    }
    println!();
    Ok(())
}

/// The containers' cgroups in the tree that counts memory.
fn groups(parent: &str) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let root = Path::new("/sys/fs/cgroup");
    let trees = [root.join("memory").join(parent), root.join(parent), root.join("unified").join(parent)];
    let counts = |group: &PathBuf| charged_bytes(group).is_some();
    trees.iter().flat_map(|tree| below(tree)).flat_map(|instance| below(&instance)).filter(counts).collect()
}

fn charged_bytes(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    read("memory.usage_in_bytes").or_else(|| read("memory.current"))?.trim().parse().ok()
}

/// The proportional shares of a container's processes together.
fn proportional_kb(group: &Path) -> anyhow::Result<u64> {
    let list = fs::read_to_string(group.join("cgroup.procs"))?;
    let of = |pid: &str| -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel tells")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    list.lines().map(of).sum()
}
