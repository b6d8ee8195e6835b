//! The journal as its users see it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::append::{Append, Token};
use crate::config::{Config, Durability, MAX_ENTRY_BYTES};
use crate::error::Error;
use crate::file::Disk;
use crate::group::{self, Queue};
use crate::log::{self, Log};
use crate::payload::{Payload, Sealing};
use crate::recover::{self, Recovery};

/// An open journal. To share it, put it in an `Arc`. Dropping it writes what
/// is queued and frees the folder, once no [`Append`] of it is left.
pub struct Journal {
    shared: Arc<Shared>,
    /// The thread that writes groups, in mode `Power`.
    writer: Option<JoinHandle<()>>,
}

/// A live entry, read back.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The byte that it was appended with.
    pub tag: u8,
    /// The bytes that it was appended with.
    pub payload: Vec<u8>,
}

/// Without the payload, which may be someone's secret.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.payload.len();
        f.debug_struct("Entry").field("tag", &self.tag).field("bytes", &bytes).finish()
    }
}

/// How much a journal holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries not released.
    pub live_entries: usize,
    /// Their size in bytes, with frames and with appends under way: what is
    /// held against `max_live_bytes`.
    pub live_bytes: u64,
    /// Size of all segments in bytes.
    pub disk_bytes: u64,
    /// Number of segment files.
    pub segments: usize,
}

impl Journal {
    /// Opens the folder, alone, and finds what is live in it. In mode `Power`
    /// it starts a thread, which ends when the journal is dropped.
    pub fn open(config: Config) -> Result<(Journal, Recovery), Error> {
        Journal::open_on(Disk::default(), config)
    }

    pub(crate) fn open_on(disk: Disk, config: Config) -> Result<(Journal, Recovery), Error> {
        let (mut log, lock, recovery) = recover::open(&config, disk)?;
        let sealing = Sealing::of(&config);
        sealing.renew(&mut log, &config.folder)?;
        let shared = Arc::new(Shared {
            sealing,
            folder: config.folder,
            max_live_bytes: config.max_live_bytes,
            live_bytes: AtomicU64::new(log.live_bytes),
            log: Mutex::new(log),
            sweep: Mutex::new(()),
            queue: (config.durability == Durability::Power).then(Queue::default),
            _lock: lock,
        });
        shared.sweep();
        let writer = match shared.queue {
            None => None,
            Some(_) => {
                let shared = Arc::clone(&shared);
                let thread = std::thread::Builder::new().name("journal".into());
                let folder = shared.folder.clone();
                let spawned = thread.spawn(move || group::run(&shared));
                Some(spawned.map_err(Error::io("start a thread to write to", folder))?)
            }
        };
        Ok((Journal { shared, writer }, recovery))
    }

    /// Appends an entry. The future answers once the entry is as durable as
    /// the mode says; in mode `Process` that is before this returns.
    pub fn append(&self, tag: u8, payload: &[u8]) -> Append {
        let shared = Arc::clone(&self.shared);
        let payload = shared.sealing.seal(tag, payload);
        if payload.bytes.len() > MAX_ENTRY_BYTES {
            let error = Error::TooLarge { bytes: payload.bytes.len(), limit_bytes: MAX_ENTRY_BYTES };
            return Append::ready(shared, Err(error));
        }
        let bytes = payload.frame_bytes();
        if let Err(error) = shared.reserve(bytes) {
            return Append::ready(shared, Err(error));
        }
        match &shared.queue {
            None => {
                let answer = shared.append_now(&payload);
                Append::ready(shared, answer)
            }
            Some(queue) => match queue.append(payload) {
                Ok(answer) => Append::waiting(shared, answer),
                Err(error) => {
                    shared.unreserve(bytes);
                    Append::ready(shared, Err(error))
                }
            },
        }
    }

    /// Releases an entry: what it promised is done. Releasing it again does
    /// nothing. In mode `Process` the release is written when this returns;
    /// in mode `Power` soon after, and nothing waits for it.
    ///
    /// When the disk is full the release holds all the same, and is written
    /// with the next write that succeeds.
    pub fn release(&self, token: Token) {
        self.shared.release(&[token.0]);
    }

    /// Releases many entries with one write.
    pub fn release_all(&self, tokens: impl IntoIterator<Item = Token>) {
        let seqs: Vec<u64> = tokens.into_iter().map(|token| token.0).collect();
        self.shared.release(&seqs);
    }

    /// Reads a live entry back, from the page cache or the disk.
    pub fn read(&self, token: Token) -> Result<Entry, Error> {
        let (file, salt, place) = {
            let log = self.shared.log();
            let place = *log.index.get(&token.0).ok_or(Error::Missing(token))?;
            let segment = log.segment(place.segment).ok_or(Error::Missing(token))?;
            (Arc::clone(&segment.file), segment.salt, place)
        };
        // The file stays readable if its segment is deleted meanwhile.
        let copy = log::read(&file, salt, token.0, &place).map_err(Error::io("read an entry of", file.path()))?;
        let tag = copy.payload.tag;
        let unsealable = |source| Error::Unsealable { folder: self.shared.folder.clone(), source };
        Ok(Entry { tag, payload: self.shared.sealing.open(copy.payload).map_err(unsealable)? })
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How much there is.
    pub fn stats(&self) -> Stats {
        let log = self.shared.log();
        Stats {
            live_entries: log.index.len(),
            live_bytes: self.shared.live_bytes.load(Ordering::Relaxed),
            disk_bytes: log.disk_bytes,
            segments: log.segments.len(),
        }
    }
}

/// Without what is queued or buffered, which may be someone's secret.
impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("folder", &self.shared.folder).field("stats", &self.stats()).finish()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(queue) = &self.shared.queue {
            queue.close();
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("The writer of the journal panicked");
        }
    }
}

/// What the journal, its appends and its writer hold together.
pub(crate) struct Shared {
    sealing: Sealing,
    pub folder: PathBuf,
    max_live_bytes: u64,
    /// Live and promised, with frames.
    live_bytes: AtomicU64,
    log: Mutex<Log>,
    /// Held while segments are deleted, so that they go in their order.
    sweep: Mutex<()>,
    /// In mode `Power`: what the writer has to do.
    pub queue: Option<Queue>,
    /// Its lock on the folder goes with it.
    _lock: File,
}

impl Shared {
    pub fn log(&self) -> MutexGuard<'_, Log> {
        // No step leaves the log in a state that a later one cannot continue.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let limit_bytes = self.max_live_bytes;
        self.live_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| {
                live.checked_add(bytes).filter(|sum| *sum <= limit_bytes)
            })
            .map(drop)
            .map_err(|live_bytes| Error::Full { live_bytes, limit_bytes })
    }

    pub fn unreserve(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Writes an entry on this thread, and then does a share of the cleaning.
    fn append_now(&self, payload: &Payload<'_>) -> Result<Token, Error> {
        let bytes = payload.frame_bytes();
        let mut log = self.log();
        let written = log.batch(bytes).and_then(|mut batch| {
            let seq = log.next_seq;
            batch.entry(seq, payload);
            let written = log.write(&batch);
            match written {
                Ok(()) => {
                    log.next_seq += 1;
                    log.commit(batch, false);
                }
                Err(_) => log.keep_buffer(batch),
            }
            written.map(|()| Token(seq))
        });
        let doomed = tidy(&mut log, bytes);
        drop(log);
        if doomed {
            self.sweep();
        }
        written.map_err(|source| {
            self.unreserve(bytes);
            Error::write(source, self.folder.clone())
        })
    }

    pub fn release(&self, seqs: &[u64]) {
        if seqs.is_empty() {
            return;
        }
        if let Some(queue) = &self.queue {
            queue.release(seqs);
            return;
        }
        let mut log = self.log();
        let freed = log.release(seqs);
        self.unreserve(freed);
        let mut doomed = log.reclaim();
        if !log.owed.is_empty() {
            match log.batch(0) {
                Ok(batch) => match log.write(&batch) {
                    Ok(()) => log.commit(batch, false),
                    // They stay owed; the next append or release writes them.
                    Err(error) => {
                        log.keep_buffer(batch);
                        owed(&error);
                    }
                },
                Err(error) => owed(&error),
            }
            doomed |= tidy(&mut log, 0);
        }
        drop(log);
        if doomed {
            self.sweep();
        }
    }

    /// Deletes the segments that hold nothing live, without the log's lock.
    pub fn sweep(&self) {
        let _one = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(path) = self.log().doomed.pop_front() else { return };
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::error!(
                    file = %path.display(),
                    error = &error as &dyn std::error::Error,
                    "A journal file cannot be deleted and is kept for now"
                );
                // Those behind it may hold releases of what it holds.
                self.log().doomed.push_front(path);
                return;
            }
        }
    }
}

/// Does as much cleaning as an append of `bytes` has to pay for. Returns
/// whether there are segments to delete.
fn tidy(log: &mut Log, bytes: u64) -> bool {
    if log.wants_copies() {
        let copies = log.copies(2 * bytes);
        let size = copies.iter().map(|copy| copy.payload.frame_bytes()).sum();
        if !copies.is_empty() {
            let written = log.batch(size).and_then(|mut batch| {
                for copy in &copies {
                    batch.entry(copy.seq, &copy.payload);
                }
                log.write(&batch)?;
                log.commit(batch, false);
                Ok(())
            });
            if let Err(error) = written {
                log.look_again();
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "The journal could not be compacted; it tries again with the next append"
                );
            }
        }
    }
    log.reclaim()
}

pub(crate) fn owed(error: &std::io::Error) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "Releases could not be written; they go with the next write"
    );
}
