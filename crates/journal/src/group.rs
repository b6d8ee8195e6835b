//! Mode `Power`: one thread writes and syncs what has gathered meanwhile.
//!
//! While a sync is under way appends queue up, and the next sync is for all of
//! them: the more there are at once, the more share one. No delay waits for
//! company. But whoever has been answered is likely to append again within
//! microseconds, and the first of them must not have a sync for itself while
//! all others wait for the next: so the writer gives way while appends arrive,
//! until there are as many as in the last group. One task alone never waits.
//! With 16 tasks that makes 1.6 times the rate, for the bus three times.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::append::{Answer, Token};
use crate::error::{Error, copy_of};
use crate::file::SegmentFile;
use crate::journal::{Shared, owed};
use crate::log::{Batch, Log};
use crate::payload::Payload;

/// A group ends at so many bytes, unless its first entry is larger: what one
/// sync writes at most, and so how long an append waits for its elders.
const GROUP_BYTES: u64 = 4 << 20;
/// Appends that wait for a disk which cannot keep up take at most so many
/// bytes of memory; beyond that the journal is full.
const WAITING_BYTES: u64 = 128 << 20;

/// How often the writer gives way to the tasks that it has just answered,
/// without another append having arrived, before it stops waiting for as many
/// as last time.
const PATIENCE: u32 = 3;

/// What the writer has to do. Bounded by `WAITING_BYTES`; releases by the
/// number of live entries.
#[derive(Default)]
pub(crate) struct Queue {
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Default)]
struct Work {
    appends: VecDeque<Waiting>,
    bytes: u64,
    releases: Vec<u64>,
    closed: bool,
    /// The writer sleeps, and has to be woken.
    asleep: bool,
}

/// An append that waits for the next group.
struct Waiting {
    payload: Payload<'static>,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    pub fn append(&self, payload: Payload<'_>) -> Result<oneshot::Receiver<Answer>, Error> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { payload: payload.into_owned(), answer };
        let bytes = waiting.payload.frame_bytes();
        let mut work = self.lock();
        if work.closed {
            return Err(Error::Closed);
        }
        if work.bytes + bytes > WAITING_BYTES {
            return Err(Error::Full { live_bytes: work.bytes, limit_bytes: WAITING_BYTES });
        }
        work.bytes += bytes;
        work.appends.push_back(waiting);
        self.wake(work);
        Ok(answered)
    }

    pub fn release(&self, seqs: &[u64]) {
        let mut work = self.lock();
        if work.closed {
            return;
        }
        work.releases.extend_from_slice(seqs);
        self.wake(work);
    }

    pub fn close(&self) {
        let mut work = self.lock();
        work.closed = true;
        self.wake(work);
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut work: MutexGuard<'_, Work>) {
        if mem::take(&mut work.asleep) {
            drop(work);
            self.wake.notify_one();
        }
    }

    /// The next group, after one of `last` appends, as soon as there is
    /// anything; `None` when the journal is closed and all is done.
    fn next(&self, last: usize) -> Option<(Vec<Waiting>, Vec<u64>)> {
        let mut work = self.lock();
        while work.appends.is_empty() && work.releases.is_empty() {
            if work.closed {
                return None;
            }
            work.asleep = true;
            work = self.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        let mut misses = 0;
        while work.appends.len() < last && misses < PATIENCE && !work.closed {
            let before = work.appends.len();
            drop(work);
            std::thread::yield_now();
            work = self.lock();
            misses = if work.appends.len() > before { 0 } else { misses + 1 };
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(first) = work.appends.front() {
            if bytes > 0 && bytes + first.payload.frame_bytes() > GROUP_BYTES {
                break;
            }
            bytes += first.payload.frame_bytes();
            group.extend(work.appends.pop_front());
        }
        work.bytes -= bytes;
        Some((group, mem::take(&mut work.releases)))
    }
}

/// Closes the queue when the writer ends, however it ends: nobody shall wait
/// for an answer that no one is left to give.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut work = self.0.lock();
        work.closed = true;
        work.appends.clear();
    }
}

/// The writer's thread.
pub(crate) fn run(shared: &Shared) {
    let Some(queue) = &shared.queue else { return };
    let closing = Closing(queue);
    let mut last = 0;
    while let Some((group, releases)) = queue.next(last) {
        last = group.len();
        let doomed = write_group(shared, queue, group, &releases);
        if doomed {
            shared.sweep();
        }
    }
    drop(closing);
}

/// Writes one group, syncs it, and answers. Returns whether there are segments
/// to delete.
fn write_group(shared: &Shared, queue: &Queue, group: Vec<Waiting>, releases: &[u64]) -> bool {
    let bytes: u64 = group.iter().map(|waiting| waiting.payload.frame_bytes()).sum();
    let mut log = shared.log();
    shared.unreserve(log.release(releases));
    if group.is_empty() && log.owed.is_empty() && !log.wants_copies() {
        return log.reclaim();
    }
    let started = start(&mut log, &group, bytes);
    // The sync takes a thousand times longer than the write. Readers must not
    // wait for it.
    drop(log);
    let synced = started.map(|Started { batch, file, first }| {
        let synced = if batch.has_entries() { file.sync() } else { Ok(()) };
        (batch, first, synced)
    });

    let mut log = shared.log();
    let outcome = match synced {
        Ok((batch, first, Ok(()))) => {
            let synced = batch.has_entries();
            log.commit(batch, synced);
            Ok(first)
        }
        Ok((batch, _, Err(error))) => {
            log.undo(batch);
            Err(error)
        }
        Err(error) => {
            log.look_again();
            Err(error)
        }
    };
    let doomed = log.reclaim();
    drop(log);

    match outcome {
        Ok(first) => {
            let mut withdrawn = Vec::new();
            for (seq, waiting) in (first..).zip(group) {
                if waiting.answer.send(Ok(Token(seq))).is_err() {
                    withdrawn.push(seq);
                }
            }
            queue.release(&withdrawn);
        }
        Err(error) => {
            shared.unreserve(bytes);
            if group.is_empty() {
                owed(&error);
            }
            for waiting in group {
                let error = Error::write(copy_of(&error), shared.folder.clone());
                // Whoever left does not mind that it failed.
                let _ = waiting.answer.send(Err(error));
            }
        }
    }
    doomed
}

/// A group in the page cache.
struct Started {
    batch: Batch,
    file: Arc<SegmentFile>,
    /// The number of its first new entry; the others follow.
    first: u64,
}

/// Writes the group, with its share of copies, into the page cache.
fn start(log: &mut Log, group: &[Waiting], bytes: u64) -> io::Result<Started> {
    let copies = if log.wants_copies() { log.copies(2 * bytes) } else { Vec::new() };
    let copied: u64 = copies.iter().map(|copy| copy.payload.frame_bytes()).sum();
    let mut batch = log.batch(copied + bytes)?;
    for copy in &copies {
        batch.entry(copy.seq, &copy.payload);
    }
    let first = log.next_seq;
    for (seq, waiting) in (first..).zip(group) {
        log.next_seq = seq + 1;
        batch.entry(seq, &waiting.payload);
    }
    if let Err(error) = log.write(&batch) {
        log.keep_buffer(batch);
        return Err(error);
    }
    match log.segments.back() {
        Some(last) => Ok(Started { batch, file: Arc::clone(&last.file), first }),
        None => Err(io::Error::other("the segment that was written to is gone")),
    }
}
