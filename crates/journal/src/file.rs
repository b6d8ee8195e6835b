//! The few things that are done to a segment's file, and the place where
//! tests make a disk fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The disk that files are on. In tests it can be told to fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<faults::Faults>,
}

/// A segment's file, open for reading, and for writing at its end.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl SegmentFile {
    /// Makes an empty file, for its owner alone. One that is there already is
    /// what a failed attempt left.
    pub fn create(disk: &Disk, path: PathBuf) -> io::Result<SegmentFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(SegmentFile { file, path, disk: disk.clone() })
    }

    /// Opens a file that exists.
    pub fn open(disk: &Disk, path: PathBuf) -> io::Result<SegmentFile> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(SegmentFile { file, path, disk: disk.clone() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all bytes at `at`. After an error some of them may be there.
    pub fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        let bytes = match self.disk.faults.admit(bytes.len()) {
            Ok(()) => bytes,
            Err((error, fits)) => {
                self.file.write_all_at(&bytes[..fits], at)?;
                return Err(error);
            }
        };
        self.file.write_all_at(bytes, at)
    }

    pub fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// Shortens the file to `len` bytes.
    pub fn cut(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.disk.faults.cut()?;
        self.file.set_len(len)
    }

    /// Returns once the bytes and the file's length are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.disk.faults.sync()?;
        let _ = &self.disk;
        self.file.sync_data()
    }
}

/// Returns once the names in `folder` are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod faults {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    /// What the disk does wrong from now on.
    #[derive(Debug)]
    pub struct Faults {
        /// Bytes that can still be written; then the disk is full.
        pub room: AtomicUsize,
        pub cut_fails: AtomicBool,
        pub sync_fails: AtomicBool,
    }

    impl Default for Faults {
        fn default() -> Faults {
            Faults {
                room: AtomicUsize::new(usize::MAX),
                cut_fails: AtomicBool::new(false),
                sync_fails: AtomicBool::new(false),
            }
        }
    }

    impl Faults {
        /// The error, and how many bytes still fit.
        pub fn admit(&self, bytes: usize) -> Result<(), (io::Error, usize)> {
            self.room
                .fetch_update(SeqCst, SeqCst, |room| match room {
                    usize::MAX => Some(room),
                    _ => room.checked_sub(bytes),
                })
                .map(drop)
                .map_err(|room| (io::ErrorKind::StorageFull.into(), room))
        }

        pub fn cut(&self) -> io::Result<()> {
            match self.cut_fails.load(SeqCst) {
                true => Err(io::Error::other("the disk does not cut")),
                false => Ok(()),
            }
        }

        pub fn sync(&self) -> io::Result<()> {
            match self.sync_fails.load(SeqCst) {
                true => Err(io::Error::other("the disk does not sync")),
                false => Ok(()),
            }
        }
    }
}
