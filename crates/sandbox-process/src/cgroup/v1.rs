//! How version 1 spells the controls.

use std::{fs, io, path::Path};

/// Memory alone, then memory and swap together, which may not be lower. A
/// kernel without swap accounting lacks the second file.
pub(super) fn limit_memory(folder: &Path, memory_mb: u32) -> io::Result<()> {
    let bytes = (u64::from(memory_mb) << 20).to_string();
    fs::write(folder.join("memory.limit_in_bytes"), &bytes)?;
    let both = folder.join("memory.memsw.limit_in_bytes");
    if both.exists() {
        return fs::write(both, &bytes);
    }
    fs::write(folder.join("memory.swappiness"), "0")
}

/// 1024 is what a process outside of any group has; it goes to 1024 MB.
pub(super) fn share_cpu(folder: &Path, memory_mb: u32) -> io::Result<()> {
    fs::write(folder.join("cpu.shares"), memory_mb.clamp(2, 262_144).to_string())
}

pub(super) fn freeze(folder: &Path, frozen: bool) -> io::Result<()> {
    fs::write(folder.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
}

pub(super) fn is_frozen(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_to_string(folder.join("freezer.state"))?.trim() == "FROZEN")
}
