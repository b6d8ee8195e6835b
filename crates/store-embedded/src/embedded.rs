//! Opening, and closing.

use std::{
    fs::{DirBuilder, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use whisker_secrets::Seals;

use crate::{
    Config, OpenError,
    checkpoint::Log,
    code, connection,
    error::is_damage,
    lock::Lock,
    readers::Readers,
    schema,
    writer::{Changes, Writer},
};

/// The store in one file: all three traits.
///
/// It has two threads, one that writes and one that checkpoints. Dropping it
/// waits for both, and so for every change that was accepted.
pub struct Embedded {
    data_dir: PathBuf,
    /// Only `None` while it is dropped.
    writer: Option<Writer>,
    readers: Option<Readers>,
    pub(crate) seals: Seals,
    threads: Vec<JoinHandle<()>>,
    /// Let go last.
    _lock: Lock,
}

impl Embedded {
    /// Opens the file of a folder, or makes it; brings older data forward.
    /// Blocks for some milliseconds, longer after a crash or a migration.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let dir = &config.data_dir;
        let path = dir.join("store.db");
        let unusable = |path: &Path, source| OpenError::Path { path: path.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| unusable(dir, e))?;
        let lock = Lock::take(dir)?;
        // Made here for its mode, which SQLite gives to its other files too.
        let mut file = OpenOptions::new();
        file.read(true).write(true).create(true).truncate(false).mode(0o600);
        file.open(&path).map_err(|e| unusable(&path, e))?;

        let failed = |source| match is_damage(&source) {
            true => OpenError::Damaged { path: path.clone(), source },
            false => OpenError::Database { path: path.clone(), source },
        };
        let connection = connection::writer(&path, config.durability, config.seals.is_sealing()).map_err(failed)?;
        let mut connection = connection.ok_or_else(|| OpenError::FileSystem { path: path.clone() })?;
        schema::migrate(&mut connection, &path)?;
        code::sweep(&connection).map_err(failed)?;
        let readers = Readers::open(&path, config.readers).map_err(failed)?;
        let (log, checkpointer) = Log::start(&mut connection, &path).map_err(failed)?;
        let changes = Changes::new(connection).map_err(failed)?;
        let (writer, thread) = Writer::start(changes, log).map_err(|e| unusable(&path, e))?;
        let threads = vec![thread, checkpointer];
        let (writer, readers, seals) = (Some(writer), Some(readers), config.seals.clone());
        Ok(Self { data_dir: dir.clone(), writer, readers, seals, threads, _lock: lock })
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("there until it is dropped")
    }

    pub(crate) fn readers(&self) -> &Readers {
        self.readers.as_ref().expect("there until it is dropped")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Without its queue the writer ends, and with it the checkpointer; the
        // last connection to close copies the log back and removes it.
        self.writer = None;
        self.readers = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store had panicked");
            }
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}
