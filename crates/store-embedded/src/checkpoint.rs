//! Copying the log back into the database, off the writer's path.
//!
//! Left to itself SQLite does this inside whichever commit crosses a
//! threshold, and that commit takes ten milliseconds. Here a thread with a
//! connection of its own copies what is committed so far, as often as the log
//! has grown by 4 MB; the writer goes on appending meanwhile.
//!
//! The log starts again from its beginning only when the writer finds all of
//! it copied and nobody reading from it. Under load that moment does not come
//! by itself, so when the log is long and the thread has nearly caught up, the
//! writer makes it come: it copies the little that is left, between two groups,
//! and waits for readers for an instant. That is the one checkpoint on the
//! writer's path, once in 64 MB of log. If the disk is so slow that the thread
//! does not catch up, the writer does it all at 256 MB: the log is bounded.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;

use crate::connection;

/// Pages (of 4 KB) that the log grows by between two copies.
const COPY_EVERY: u32 = 1_024;

/// Pages of log at which the writer makes it start again, if it is nearly copied.
const RESTART_AT: u32 = 16 * 1_024;

/// Pages that it may have left to copy then.
const NEARLY: u32 = 2 * COPY_EVERY;

/// Pages of log at which the writer makes it start again in any case.
const RESTART_AT_LAST: u32 = 64 * 1_024;

/// How long the writer waits for readers then.
const RESTART_WAIT: Duration = Duration::from_millis(5);

/// The writer's view of its log.
pub(crate) struct Log {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU32>,
    /// Pages of it that were copied, when the thread was last done.
    copied: Arc<AtomicU32>,
    /// Pages when the thread was last woken.
    woken_at: u32,
    /// Pages at which to start the log again.
    restart_at: u32,
    wake: SyncSender<()>,
}

impl Log {
    /// Starts the thread that copies, for the log of this writer. It ends when
    /// the [`Log`] is dropped.
    pub(crate) fn start(writer: &mut Connection, path: &Path) -> rusqlite::Result<(Self, thread::JoinHandle<()>)> {
        let (pages, copied) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (seen, done) = (pages.clone(), copied.clone());
        writer.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = connection::checkpointer(path)?;
        // One place: a wish to copy that nobody has begun to fulfil covers a second one.
        let (wake, wishes) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || run(&connection, &wishes, &done))
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        Ok((Self { pages, copied, woken_at: 0, restart_at: RESTART_AT, wake }, thread))
    }

    /// After a group in which something failed. If the disk is full, the log
    /// may be holding the room that is missing.
    pub(crate) fn after_failure(&mut self, writer: &Connection) {
        copy_all(writer, "TRUNCATE");
    }

    /// Between two groups.
    pub(crate) fn after_group(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.woken_at {
            (self.woken_at, self.restart_at) = (0, RESTART_AT);
        }
        let left = pages.saturating_sub(self.copied.load(Ordering::Relaxed));
        if pages >= self.restart_at && (left <= NEARLY || pages >= RESTART_AT_LAST) {
            // If a long read holds the log, it grows a little more until then.
            (self.woken_at, self.restart_at) = (pages, pages + COPY_EVERY);
            copy_all(writer, "RESTART");
        } else if pages >= self.woken_at + COPY_EVERY {
            self.woken_at = pages;
            let _ = self.wake.try_send(());
        }
    }
}

fn run(connection: &Connection, wishes: &Receiver<()>, done: &AtomicU32) {
    while wishes.recv().is_ok() {
        match checkpoint(connection, "PASSIVE") {
            Ok(copied) => done.store(copied, Ordering::Relaxed),
            // Nothing is lost: the log keeps it, and the next wish tries again.
            Err(e) => tracing::warn!(error = %e, "the store's log could not be copied back"),
        }
    }
}

/// A checkpoint on the writer's path, which waits for readers for an instant.
fn copy_all(writer: &Connection, mode: &str) {
    let copied = writer.busy_timeout(RESTART_WAIT).and_then(|()| checkpoint(writer, mode));
    if let Err(e) = writer.busy_timeout(connection::BUSY).and(copied) {
        tracing::warn!(error = %e, "the store's log could not be copied back and started again");
    }
}

/// Times that [`empty`] waits for readers, each as long as for any lock.
const EMPTYING: usize = 10;

/// Empties the log, after what it holds has become nobody's business any more.
/// Where readers never let go of it, it is overwritten in its time.
pub(crate) fn empty(path: &Path) -> rusqlite::Result<()> {
    let connection = connection::checkpointer(path)?;
    for _ in 0..EMPTYING {
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            return Ok(());
        }
    }
    tracing::warn!("the store's log could not be emptied: it holds what was in clear until it is written over");
    Ok(())
}

/// Answers how many pages of the log are copied now.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<u32> {
    let copied = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(2))?;
    Ok(u32::try_from(copied).unwrap_or(0))
}
