//! Connections that read, for quick reads and for long ones.
//!
//! A quick read (one small row by its key) takes 5 to 10 µs, less than handing
//! it to another thread and waiting for the answer, so it runs where the
//! caller runs. A long read (a list, a count, megabytes of code or logs) would
//! hold up the caller's other tasks; it runs on the blocking pool, a bounded
//! number at once. The two do not share connections, so that a quick read
//! never waits for a long one.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use whisker_store::Error;

use crate::{connection, error::database};

/// Bytes that a quick read may take in; what is larger is read the long way.
pub(crate) const QUICK_BYTES: i64 = 64 * 1024;

/// Connections for quick reads. The lock of one is held for microseconds.
const QUICK: usize = 4;

/// How long a long read waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Readers {
    quick: Vec<Mutex<Connection>>,
    next: AtomicUsize,
    long: Arc<Long>,
}

struct Long {
    path: PathBuf,
    /// As many as may read at once.
    turns: Arc<Semaphore>,
    /// Connections that nobody uses.
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn open(path: &Path, long: usize) -> rusqlite::Result<Self> {
        let quick = (0..QUICK).map(|_| connection::reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        let turns = Arc::new(Semaphore::new(long.max(1)));
        let long = Arc::new(Long { path: path.into(), turns, idle: Mutex::default() });
        Ok(Self { quick, next: AtomicUsize::new(0), long })
    }

    /// Reads on this thread.
    pub(crate) fn quick<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        read(&self.pick())
    }

    /// A free connection, or the next in turn.
    fn pick(&self) -> MutexGuard<'_, Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.quick.len();
        for connection in self.quick[first..].iter().chain(&self.quick[..first]) {
            match connection.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(left)) => return left.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.quick[first].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on the blocking pool.
    pub(crate) async fn long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(PATIENCE, self.long.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Error::Unavailable("too many long reads are waiting".into()));
        };
        let long = self.long.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // If the caller goes, the read ends all the same, and then its turn.
            let _turn = turn;
            let connection = long.take().map_err(database)?;
            let outcome = read(&connection);
            long.give_back(connection);
            outcome
        });
        reading.await.map_err(|e| Error::Unavailable(e.into()))?
    }
}

impl Long {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| connection::reader(&self.path), Ok)
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
