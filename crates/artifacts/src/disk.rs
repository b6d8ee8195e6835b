//! Artifacts as they lie on disk.
//!
//! ```text
//! making/N/           what is being made, and what is on its way out
//! kept/KEY/content/   an artifact
//! kept/KEY/entry      its size and count, and the boot of the host it was made in
//! kept/KEY/synced     there once the disk is known to have it
//! ```
//!
//! An artifact appears by a rename, whole. A machine that loses its power can
//! still lose files that were renamed before they were written: what was made
//! in an earlier boot and is not known to be on the disk goes, and everything
//! is counted again before its first use. All of it is the server's alone
//! (mode 0700); containers get to see what is mounted for them.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use crate::Key;

/// What a file, folder or link takes besides its content, and what content is
/// rounded up to: a block of the usual file systems.
const BLOCK_BYTES: u64 = 4096;

/// The folder of artifacts.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    boot: String,
    numbers: AtomicU64,
}

/// How much there is of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes on disk, about.
    pub bytes: u64,
    /// Files, folders and links.
    pub count: u64,
}

/// An artifact that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub key: Key,
    pub size: Size,
    pub used: SystemTime,
}

impl Disk {
    /// Makes the folder if it is missing, and removes what is half made.
    pub(crate) fn open(root: &Path) -> io::Result<Disk> {
        let private = |path: &Path| -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        };
        private(root)?;
        let making = root.join("making");
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        private(&making)?;
        private(&root.join("kept"))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Disk { root: root.to_owned(), boot, numbers: AtomicU64::new(0) })
    }

    /// What is kept, the least recently used first. What cannot be trusted is
    /// removed.
    pub(crate) fn look_through(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join("kept"))? {
            let entry = entry?;
            let key = entry.file_name().to_str().and_then(Key::parse);
            match key.and_then(|key| self.read(key)) {
                Some(artifact) => found.push(artifact),
                None => self.remove_path(&entry.path())?,
            }
        }
        found.sort_by_key(|found| found.used);
        Ok(found)
    }

    fn read(&self, key: Key) -> Option<Found> {
        let folder = self.folder(key);
        let text = fs::read_to_string(folder.join("entry")).ok()?;
        let mut words = text.split_ascii_whitespace();
        let size = Size { bytes: words.next()?.parse().ok()?, count: words.next()?.parse().ok()? };
        if words.next()? != self.boot && !folder.join("synced").exists() {
            return None;
        }
        let used = fs::metadata(folder.join("entry")).and_then(|entry| entry.modified()).ok()?;
        Some(Found { key, size, used })
    }

    fn folder(&self, key: Key) -> PathBuf {
        self.root.join("kept").join(key.to_string())
    }

    /// Where an artifact's content is.
    pub(crate) fn content(&self, key: Key) -> PathBuf {
        self.folder(key).join("content")
    }

    /// An empty folder for something to be made in.
    pub(crate) fn begin(&self) -> io::Result<PathBuf> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join("making").join(number.to_string());
        DirBuilder::new().mode(0o700).create(&folder)?;
        let content = folder.join("content");
        fs::create_dir(&content)?;
        // Whatever the umask says: containers' users look into it.
        fs::set_permissions(&content, fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Keeps what was made in a folder of [`begin`](Self::begin).
    pub(crate) fn keep(&self, key: Key, folder: &Path) -> io::Result<Size> {
        let size = measure(&folder.join("content"))?;
        let mut entry = File::create(folder.join("entry"))?;
        writeln!(entry, "{} {} {}", size.bytes, size.count, self.boot)?;
        drop(entry);
        fs::rename(folder, self.folder(key))?;
        Ok(size)
    }

    /// Sees an artifact through to the disk. Takes as long as the disk does.
    pub(crate) fn sync(&self, key: Key) -> io::Result<()> {
        let folder = File::open(self.folder(key))?;
        rustix::fs::syncfs(&folder)?;
        File::create(self.folder(key).join("synced"))?.sync_all()?;
        folder.sync_all()
    }

    /// Whether there is as much of an artifact as there was; notes its use.
    pub(crate) fn is_whole(&self, key: Key, size: Size) -> bool {
        let whole = measure(&self.content(key)).is_ok_and(|found| found == size);
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        // Only the order of later evictions hangs on it.
        let _ = utimensat(CWD, self.folder(key).join("entry"), &times, AtFlags::empty());
        whole
    }

    /// Removes an artifact: out of sight first, so that half of one is never
    /// taken for a whole.
    pub(crate) fn remove(&self, key: Key) -> io::Result<()> {
        self.remove_path(&self.folder(key))
    }

    /// Removes a folder that nobody will look for.
    pub(crate) fn discard(&self, folder: &Path) {
        if let Err(error) = fs::remove_dir_all(folder) {
            tracing::warn!(folder = %folder.display(), %error, "what was not kept of an artifact stays until the next start");
        }
    }

    fn remove_path(&self, path: &Path) -> io::Result<()> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let out = self.root.join("making").join(number.to_string());
        fs::rename(path, &out)?;
        if out.is_dir() { fs::remove_dir_all(out) } else { fs::remove_file(out) }
    }
}

/// Counts what is below a folder, following no link.
fn measure(folder: &Path) -> io::Result<Size> {
    let mut size = Size { bytes: 0, count: 0 };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            size.count += 1;
            size.bytes += BLOCK_BYTES;
            if data.is_dir() {
                folders.push(entry.path());
            } else if data.is_file() {
                size.bytes += data.size().next_multiple_of(BLOCK_BYTES);
            }
        }
    }
    Ok(size)
}
