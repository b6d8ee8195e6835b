//! Copying the log back into the database, off the writer's path.
//!
//! Left to itself SQLite does this inside whichever commit crosses a
//! threshold, and that commit takes ten milliseconds. Here a thread with a
//! connection of its own copies what is committed so far, as often as the log
//! has grown by 4 MB; the writer goes on appending meanwhile.
//!
//! The log starts again from its beginning only when the writer finds all of
//! it copied and nobody reading from it. Under load that moment does not come
//! by itself, so when the log is long the writer makes it come: it copies the
//! little that the thread has not, between two groups, and waits for readers
//! for an instant. That is the one checkpoint on the writer's path, once in
//! 64 MB of log.

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

/// Pages of log at which the writer makes it start again.
const RESTART_AT: u32 = 16 * 1_024;

/// How long the writer waits for readers then.
const RESTART_WAIT: Duration = Duration::from_millis(5);

/// The writer's view of its log.
pub(crate) struct Log {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU32>,
    copied_at: u32,
    restart_at: u32,
    wake: SyncSender<()>,
}

impl Log {
    /// Starts the thread that copies, for the log of this writer. It ends when
    /// the [`Log`] is dropped.
    pub(crate) fn start(writer: &mut Connection, path: &Path) -> rusqlite::Result<(Self, thread::JoinHandle<()>)> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = pages.clone();
        writer.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = connection::checkpointer(path)?;
        // One place: a wish to copy that nobody has begun to fulfil covers a second one.
        let (wake, wishes) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || run(&connection, &wishes))
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        Ok((Self { pages, copied_at: 0, restart_at: RESTART_AT, wake }, thread))
    }

    /// After a group in which something failed. If the disk is full, the log
    /// may be holding the room that is missing.
    pub(crate) fn after_failure(&mut self, writer: &Connection) {
        copy_all(writer, "TRUNCATE");
    }

    /// Between two groups.
    pub(crate) fn after_group(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.copied_at {
            (self.copied_at, self.restart_at) = (0, RESTART_AT);
        }
        if pages >= self.restart_at {
            // If a long read holds the log, it grows a little more until then.
            self.restart_at = pages + COPY_EVERY;
            self.copied_at = pages;
            copy_all(writer, "RESTART");
        } else if pages >= self.copied_at + COPY_EVERY {
            self.copied_at = pages;
            let _ = self.wake.try_send(());
        }
    }
}

fn run(connection: &Connection, wishes: &Receiver<()>) {
    while wishes.recv().is_ok() {
        if let Err(e) = checkpoint(connection, "PASSIVE") {
            // Nothing is lost: the log keeps it, and the next wish tries again.
            tracing::warn!(error = %e, "the store's log could not be copied back");
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

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
