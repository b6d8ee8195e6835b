//! One server per folder.
//!
//! SQLite would let two servers share the file; each would then trust caches
//! and counters that the other has outdated. The lock is the kernel's: it goes
//! with its process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use crate::OpenError;

/// Holds the folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the folder, or says who has it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("store.lock");
        let failed = |source| OpenError::Path { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        let mut holder = String::new();
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                // The text helps to find the other; it does not decide anything.
                let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
                return Err(OpenError::InUse { path: data_dir.into(), pid: holder.trim().parse().ok() });
            }
            Err(e) => return Err(failed(e.into())),
        }
        // On a full disk the text is missing; the lock holds all the same.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
