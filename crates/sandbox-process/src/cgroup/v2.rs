//! How version 2 spells the controls.

use std::{fs, io, path::Path};

/// Controllers that containers use, if this tree has them.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Lets the groups below `folder` use the controllers, which must be said on
/// each level from the top. Levels above a delegated group are not ours, and
/// their owner has said it already: so what cannot be written is passed over,
/// and what is then missing is noticed in `folder` itself.
pub(super) fn delegate(folder: &Path) -> io::Result<()> {
    let levels: Vec<&Path> =
        folder.ancestors().take_while(|level| level.join("cgroup.subtree_control").exists()).collect();
    let top = levels.last().copied().unwrap_or(folder);
    let offered = fs::read_to_string(top.join("cgroup.controllers"))?;
    let wanted: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| offered.split_whitespace().any(|has| has == *name)).collect();
    let order: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    let mut refused = None;
    for level in levels.iter().rev() {
        if !order.is_empty()
            && let Err(error) = fs::write(level.join("cgroup.subtree_control"), order.join(" "))
        {
            refused = Some(error);
        }
    }
    let enabled = fs::read_to_string(folder.join("cgroup.subtree_control"))?;
    let lacks = |name: &&&str| !enabled.split_whitespace().any(|has| has == **name);
    match wanted.iter().find(lacks) {
        None => Ok(()),
        Some(_) => Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into())),
    }
}

/// Without swap; and if anything must be killed, then the whole container.
pub(super) fn limit_memory(folder: &Path, memory_mb: u32) -> io::Result<()> {
    fs::write(folder.join("memory.max"), (u64::from(memory_mb) << 20).to_string())?;
    let swap = folder.join("memory.swap.max");
    if swap.exists() {
        fs::write(swap, "0")?;
    }
    fs::write(folder.join("memory.oom.group"), "1")
}

/// 100 is what a group has by itself; it goes to 1024 MB.
pub(super) fn share_cpu(folder: &Path, memory_mb: u32) -> io::Result<()> {
    let weight = (memory_mb * 100 / 1024).clamp(1, 10_000);
    fs::write(folder.join("cpu.weight"), weight.to_string())
}

pub(super) fn freeze(folder: &Path, frozen: bool) -> io::Result<()> {
    fs::write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })
}
