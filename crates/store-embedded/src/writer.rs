//! The one thread that writes, and the queue before it.
//!
//! The thread takes whatever waits, up to a bound, and applies it in one
//! transaction. A change that is refused ([`Error::Stale`], [`Error::Missing`])
//! looked before it wrote, so the others go on; a change that fails, or panics, takes the
//! whole transaction back, and then each is tried by itself, so that one that
//! does not fit on the disk does not fail its neighbours.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use whisker_store::Error;

use crate::{checkpoint::Log, error::database, series::Series};

/// Changes that may wait. When it is full, callers wait with theirs in hand.
const QUEUE: usize = 1_024;

/// Changes in one transaction at most: it bounds how long the first waits for
/// the last.
const GROUP: usize = 256;

/// Bytes in one transaction at most, save where one change alone has more:
/// who writes little does not wait for several who upload much.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// How long a caller waits, in the queue and for its commit together.
const PATIENCE: Duration = Duration::from_secs(30);

/// What changes are made with.
pub(crate) struct Changes {
    pub(crate) connection: Connection,
    pub(crate) series: Series,
    /// The last revision that was given away. It is never taken back.
    revision: i64,
    stored_revision: i64,
}

impl Changes {
    pub(crate) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let revision = connection.query_row("SELECT last FROM revisions", [], |row| row.get(0))?;
        Ok(Self { connection, series: Series::default(), revision, stored_revision: revision })
    }

    /// A revision that none had before.
    pub(crate) fn next_revision(&mut self) -> i64 {
        self.revision += 1;
        self.revision
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([])).map(drop).map_err(database)
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.series.flush(&self.connection).map_err(database)?;
        let changed = self.revision != self.stored_revision;
        if changed {
            let mut update = self.connection.prepare_cached("UPDATE revisions SET last = ?").map_err(database)?;
            update.execute([self.revision]).map_err(database)?;
        }
        self.connection.prepare_cached("COMMIT").and_then(|mut s| s.execute([])).map_err(database)?;
        self.stored_revision = self.revision;
        Ok(())
    }

    fn roll_back(&mut self) {
        self.series.forget();
        // Some failures have rolled back already.
        if !self.connection.is_autocommit()
            && let Err(e) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "a failed transaction cannot be rolled back");
        }
    }
}

/// One change with its caller, in the eyes of the thread.
trait Change: Send {
    /// About how much is written.
    fn bytes(&self) -> usize;

    /// Makes the change; an error only if the transaction must go back.
    fn make(&mut self, changes: &mut Changes) -> Result<(), Error>;

    /// Tells the caller: after the commit what the change answered, else the
    /// failure.
    fn answer(self: Box<Self>, end: Result<(), Error>);
}

struct Job<F, T> {
    bytes: usize,
    change: F,
    outcome: Option<Result<T, Error>>,
    caller: oneshot::Sender<Result<T, Error>>,
}

impl<F, T> Change for Job<F, T>
where
    F: FnMut(&mut Changes) -> Result<T, Error> + Send,
    T: Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn make(&mut self, changes: &mut Changes) -> Result<(), Error> {
        match (self.change)(changes) {
            outcome @ (Ok(_) | Err(Error::Missing | Error::Stale)) => {
                self.outcome = Some(outcome);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn answer(self: Box<Self>, end: Result<(), Error>) {
        let Self { outcome, caller, .. } = *self;
        // A caller that has gone does not want to know.
        let _ = caller.send(end.and_then(|()| outcome.unwrap_or_else(|| Err(ended()))));
    }
}

/// The queue's end that callers hold. The thread ends when it is dropped, after
/// everything that waited.
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Change>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(changes: Changes, log: Log) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("store-writer".into()).spawn(move || run(waiting, changes, log))?;
        Ok((Self { queue }, thread))
    }

    /// Has a change of about so many bytes made, and answers once it is
    /// committed. The change may be called twice: what it made the first time
    /// is taken back then.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnMut(&mut Changes) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (caller, answer) = oneshot::channel();
        let job: Box<dyn Change> = Box::new(Job { bytes, change, outcome: None, caller });
        let written = async {
            self.queue.send(job).await.map_err(|_| ended())?;
            answer.await.unwrap_or_else(|_| Err(ended()))
        };
        let late = || Error::Unavailable("the writer took too long; the change may still be made".into());
        tokio::time::timeout(PATIENCE, written).await.unwrap_or_else(|_| Err(late()))
    }

    /// Leaves a change to be made after those that wait, for nobody to hear of;
    /// dropped if too many do.
    pub(crate) fn post(&self, change: impl FnMut(&mut Changes) -> Result<(), Error> + Send + 'static) {
        let (caller, _) = oneshot::channel();
        let _ = self.queue.try_send(Box::new(Job { bytes: 0, change, outcome: None, caller }));
    }
}

/// The panic itself was logged by the panic hook.
fn panicked() -> Error {
    Error::Unavailable("a change to the store panicked and was taken back".into())
}

fn ended() -> Error {
    Error::Unavailable("the writer has ended".into())
}

fn run(mut waiting: mpsc::Receiver<Box<dyn Change>>, mut changes: Changes, mut log: Log) {
    let mut taken = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut taken, GROUP) > 0 {
        while !taken.is_empty() {
            let group = taken.drain(..first_group(&taken)).collect();
            match commit(&mut changes, group) {
                true => log.after_group(&changes.connection),
                false => log.after_failure(&changes.connection),
            }
        }
    }
}

/// How many of these changes go into one transaction.
fn first_group(taken: &[Box<dyn Change>]) -> usize {
    let mut bytes = 0;
    let fit = taken.iter().take_while(|change| {
        bytes += change.bytes();
        bytes <= GROUP_BYTES
    });
    fit.count().max(1)
}

/// Commits a group, or what of it can be committed alone; whether that was all.
fn commit(changes: &mut Changes, mut group: Vec<Box<dyn Change>>) -> bool {
    if group.len() > 1 && attempt(changes, &mut group).is_ok() {
        group.into_iter().for_each(|change| change.answer(Ok(())));
        return true;
    }
    let mut all = true;
    for mut alone in group {
        let end = attempt(changes, std::slice::from_mut(&mut alone));
        all &= end.is_ok();
        alone.answer(end);
    }
    all
}

fn attempt(changes: &mut Changes, group: &mut [Box<dyn Change>]) -> Result<(), Error> {
    let mut made = || {
        changes.begin()?;
        group.iter_mut().try_for_each(|change| change.make(changes))?;
        changes.commit()
    };
    // A thread that ended would leave everybody without a store for good. What
    // a change had done is rolled back; what it had in hand is its own.
    let end = catch_unwind(AssertUnwindSafe(&mut made)).unwrap_or_else(|_| Err(panicked()));
    if end.is_err() {
        changes.roll_back();
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{path::Path, sync::mpsc};

    use super::*;
    use crate::{Durability, connection, schema};

    fn changes(path: &Path) -> (Changes, Log) {
        std::fs::write(path, "").unwrap();
        let mut connection = connection::writer(path, Durability::Process, false).unwrap().unwrap();
        schema::migrate(&mut connection, path).unwrap();
        let (log, _) = Log::start(&mut connection, path).unwrap();
        (Changes::new(connection).unwrap(), log)
    }

    fn note(changes: &Changes, name: &str) -> Result<usize, Error> {
        changes.connection.execute("INSERT INTO limits VALUES (?, '')", [name]).map_err(database)
    }

    #[tokio::test]
    async fn a_change_that_fails_is_taken_back_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let (changes, log) = changes(&path);
        let (writer, _thread) = Writer::start(changes, log).unwrap();
        // While the first waits, the others gather behind it and make one group.
        let (go, wait) = mpsc::channel::<()>();
        let first = writer.write(0, move |_| {
            let _ = wait.recv();
            Ok(())
        });
        let good = writer.write(0, |changes| note(changes, "good"));
        let bad = writer.write(0, |changes| {
            note(changes, "bad")?;
            Err::<(), _>(Error::Unavailable("this one fails".into()))
        });
        let refused = writer.write(0, |_| Err::<(), _>(Error::Stale));
        let last = writer.write(0, |changes| note(changes, "last"));
        let release = async move { drop(go) };
        let (first, good, bad, refused, last, ()) = tokio::join!(first, good, bad, refused, last, release);
        assert!(first.is_ok() && good.is_ok() && last.is_ok(), "{good:?} {last:?}");
        assert!(matches!(bad, Err(Error::Unavailable(_))) && matches!(refused, Err(Error::Stale)));
        let reader = connection::reader(&path).unwrap();
        let mut select = reader.prepare("SELECT namespace FROM limits ORDER BY namespace").unwrap();
        let names = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>().unwrap();
        assert_eq!(names, ["good", "last"]);
    }

    #[tokio::test]
    async fn a_change_that_panics_is_taken_back_and_the_next_one_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let (changes, log) = changes(&path);
        let (writer, _thread) = Writer::start(changes, log).unwrap();
        let panics = writer.write(0, |changes| -> Result<(), Error> {
            note(changes, "half")?;
            panic!("as a test")
        });
        assert!(matches!(panics.await, Err(Error::Unavailable(_))));
        writer.write(0, |changes| note(changes, "later")).await.unwrap();
        let reader = connection::reader(&path).unwrap();
        let names: String =
            reader.query_row("SELECT group_concat(namespace) FROM limits", [], |row| row.get(0)).unwrap();
        assert_eq!(names, "later");
    }

    #[test]
    fn groups_are_bounded_by_bytes() {
        fn sized(bytes: usize) -> Box<dyn Change> {
            let (caller, _) = oneshot::channel();
            Box::new(Job { bytes, change: |_: &mut Changes| Ok(()), outcome: None, caller })
        }
        let group = |sizes: &[usize]| first_group(&sizes.iter().copied().map(sized).collect::<Vec<_>>());
        assert_eq!(group(&[1, 2, 3]), 3);
        assert_eq!(group(&[1, GROUP_BYTES, 3]), 1);
        assert_eq!(group(&[GROUP_BYTES * 2, 3]), 1, "alone");
        assert_eq!(group(&[GROUP_BYTES / 2, GROUP_BYTES / 2, 1]), 2);
    }
}
