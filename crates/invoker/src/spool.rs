//! Finished records on their way to the store.
//!
//! A record is appended to a journal on this host, which takes microseconds
//! and survives the death of the process, and is written to the store with
//! others a moment later. While the store is away records stay on disk, and
//! the newest also in memory; what a former life left is written first.
//!
//! Why not write to the store at once? The store may be slow, far away or
//! down, and none of that is the business of whoever waits for a run's end.
//!
//! When the journal itself cannot take a record (its disk is full), the record
//! is kept in memory and its message on the bus until the store has it: a
//! crash meanwhile turns it into one that says "interrupted". While the store
//! takes none either, [`Pressure`] says so, and nothing new should be begun.
//!
//! A record that the store refuses for good, while it takes others, is set
//! aside in a file beside the journal: it must not keep the others waiting.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;
use whisker_entity::{Activation, ActivationId};
use whisker_journal::{Journal, Refused, Token};
use whisker_store::Activations;

use crate::again;

/// Tag of a journal entry: 16 bytes of id, then the record's JSON.
const RECORD: u8 = 1;
const ID_BYTES: usize = 16;
/// The file of records that the store refuses, beside the journal's folder.
const REFUSED: &str = "refused-records.jsonl";
/// How often the store refuses a record that it could take by its kind of
/// error, while it takes others, before that is for good.
const REFUSALS: u32 = 5;
/// What a record costs in memory besides its text.
const OVERHEAD_BYTES: u64 = 512;

/// Records that the store has not taken yet.
pub struct Spool {
    journal: Journal,
    state: Mutex<State>,
    /// The queue is no longer empty.
    news: Notify,
    /// The queue got shorter.
    room: Notify,
    refused: Refused,
    pressure: Pressure,
}

/// Whether records pile up in memory, since neither the journal nor the store
/// takes them.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<Pressed>);

#[derive(Debug, Default)]
struct Pressed {
    /// Bytes of records that are in memory only.
    homeless_bytes: AtomicU64,
    /// Whether the store did not take the last records.
    refused: AtomicBool,
}

impl Pressure {
    /// Whether it is so.
    pub fn is_high(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed) && self.0.homeless_bytes.load(Ordering::Relaxed) > 0
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<Pending>,
    bytes: u64,
    held_bytes: u64,
    /// Records in the next batch, at most; fewer after one that was refused,
    /// until it is known which of them it was.
    batch_max: usize,
    /// Batches that the store took.
    taken: u64,
}

struct Pending {
    id: ActivationId,
    body: Body,
    bytes: u64,
    refusals: Refusals,
}

/// How often a record was refused alone, while others were not.
#[derive(Clone, Copy, Default)]
struct Refusals {
    number: u32,
    /// [`State::taken`] at the last of them.
    at: u64,
}

enum Body {
    /// In memory, and in the journal if that took it.
    Held(Arc<Activation>, Option<Token>),
    /// In the journal only.
    OnDisk(Token),
    /// Not to be stored: its namespace wants no records, or the store has it.
    /// It still tells what its message is kept for.
    Unwanted(Option<Arc<Activation>>),
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub batch_records: usize,
    pub batch_bytes: u64,
    pub batch_wait: Duration,
    pub retry: Duration,
}

/// Hears which records are safe.
pub(crate) trait Safe: Sync {
    /// These are; called after each batch, with all that is known of them.
    fn are_safe(&self, ids: &[ActivationId], records: &[Arc<Activation>]) -> impl Future<Output = ()> + Send;
}

impl Spool {
    /// Opens the journal and finds what a former life left in it.
    pub fn open(config: whisker_journal::Config) -> Result<Self, whisker_journal::Error> {
        let (journal, recovery) = Journal::open(config.clone())?;
        let refused = Refused::beside(&config, REFUSED);
        if let Some(torn) = &recovery.torn {
            tracing::warn!(file = %torn.file.display(), bytes = torn.bytes, "The spool ended in a torn record, which was cut off");
        }
        for lost in &recovery.lost {
            tracing::error!(file = %lost.file.display(), offset = lost.offset, bytes = lost.bytes, "A part of the spool is lost");
        }
        let mut state = State { batch_max: usize::MAX, ..State::default() };
        for live in recovery.live {
            let entry = journal.read(live.token)?;
            let Some(id) = entry.payload.first_chunk::<ID_BYTES>().filter(|_| entry.tag == RECORD) else {
                tracing::error!(bytes = live.bytes, "An entry of the spool is no record and is dropped");
                journal.release(live.token);
                continue;
            };
            let (id, bytes) = (ActivationId::from_bytes(*id), live.bytes as u64);
            state.bytes += bytes;
            state.queue.push_back(Pending::new(id, Body::OnDisk(live.token), bytes));
        }
        Ok(Self {
            journal,
            state: Mutex::new(state),
            news: Notify::new(),
            room: Notify::new(),
            refused,
            pressure: Pressure::default(),
        })
    }

    /// To be asked whether records pile up.
    pub fn pressure(&self) -> Pressure {
        self.pressure.clone()
    }

    /// Records that are not in the store yet.
    pub fn len(&self) -> usize {
        self.state().queue.len()
    }

    /// Whether the store has everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    pub(crate) fn ids(&self) -> Vec<ActivationId> {
        self.state().queue.iter().map(|pending| pending.id).collect()
    }

    /// Takes a record. It is on disk when this returns, unless the disk
    /// refused it; at most `memory_bytes` of all are also kept in memory.
    pub(crate) async fn append(&self, record: Arc<Activation>, memory_bytes: u64) {
        let mut payload = record.id.to_bytes().to_vec();
        let token = match serde_json::to_writer(&mut payload, &*record) {
            Err(error) => Err(Box::new(error) as Box<dyn std::error::Error + Send + Sync>),
            Ok(()) => self.journal.append(RECORD, &payload).await.map_err(Into::into),
        };
        let token = token.inspect_err(|error| {
            let error = &**error as &dyn std::error::Error;
            tracing::error!(activation.id = %record.id, error, "The spool cannot take a record; it is only in memory");
        });
        let bytes = payload.len() as u64 + OVERHEAD_BYTES;
        let id = record.id;
        let mut state = self.state();
        let body = match token.ok() {
            Some(token) if state.held_bytes + bytes > memory_bytes => Body::OnDisk(token),
            token => {
                state.held_bytes += bytes;
                if token.is_none() {
                    self.pressure.0.homeless_bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Body::Held(record, token)
            }
        };
        self.push(state, Pending::new(id, body, bytes));
    }

    /// Takes note of a run whose record is not wanted. It waits for its turn
    /// like one that is, and so counts for its place.
    pub(crate) fn skip(&self, record: Arc<Activation>) {
        let id = record.id;
        // Only what a dead letter is made of is worth its memory.
        let record = Some(record).filter(|record| again::letter_of(record).is_some());
        self.push(self.state(), Pending::new(id, Body::Unwanted(record), OVERHEAD_BYTES));
    }

    /// The same of a record that cannot be read.
    pub(crate) fn forget(&self, id: ActivationId) {
        self.push(self.state(), Pending::new(id, Body::Unwanted(None), OVERHEAD_BYTES));
    }

    /// Returns when less than `limit_bytes` are to be written.
    pub(crate) async fn has_room(&self, limit_bytes: u64) {
        loop {
            // Subscribe before looking, so that no change falls between.
            let room = self.room.notified();
            if self.bytes() < limit_bytes {
                return;
            }
            room.await;
        }
    }

    /// Writes records to the store, for as long as `cancel` is not; then once
    /// more what is there, if the store takes it.
    pub(crate) async fn write_out(
        &self,
        store: &dyn Activations,
        safe: &impl Safe,
        pace: Pace,
        cancel: CancellationToken,
    ) {
        while self.wait_for_news(&cancel).await {
            // Others may come along; after an outage they are there already.
            if self.len() < pace.batch_records {
                tokio::select! {
                    () = time::sleep(pace.batch_wait) => {}
                    () = cancel.cancelled() => {}
                }
            }
            let mut pause = pace.retry / 64;
            while !self.write_batch(store, safe, pace).await {
                tokio::select! {
                    () = time::sleep(pause) => pause = (pause * 2).min(pace.retry),
                    () = cancel.cancelled() => break,
                }
            }
        }
        while !self.is_empty() && self.write_batch(store, safe, pace).await {}
        if !self.is_empty() {
            tracing::warn!(records = self.len(), "The store is away: its next records wait in the spool");
        }
    }

    /// Waits until there is something to write; `false` once cancelled.
    async fn wait_for_news(&self, cancel: &CancellationToken) -> bool {
        loop {
            let news = self.news.notified();
            if cancel.is_cancelled() {
                return false;
            }
            if !self.is_empty() {
                return true;
            }
            tokio::select! {
                () = news => {}
                () = cancel.cancelled() => return false,
            }
        }
    }

    /// Writes the first few; `false` if the store did not take them.
    async fn write_batch(&self, store: &dyn Activations, safe: &impl Safe, pace: Pace) -> bool {
        let mut batch = self.batch(pace);
        if !batch.records.is_empty() {
            let put = store.put(&batch.records).await;
            self.pressure.0.refused.store(put.is_err(), Ordering::Relaxed);
            if let Err(error) = put {
                let (records, source) = (batch.records.len(), &error as &dyn std::error::Error);
                tracing::warn!(
                    records,
                    waiting = self.len(),
                    error = source,
                    "The store did not take records, which stay in the spool"
                );
                if !self.refused(&batch, &error) {
                    return false;
                }
            }
        }
        {
            let mut state = self.state();
            state.taken += 1;
            state.batch_max = state.batch_max.saturating_mul(2);
            for pending in state.queue.drain(..batch.length).collect::<Vec<_>>() {
                state.bytes -= pending.bytes;
                if let Body::Held(_, token) = pending.body {
                    state.held_bytes -= pending.bytes;
                    if token.is_none() {
                        self.pressure.0.homeless_bytes.fetch_sub(pending.bytes, Ordering::Relaxed);
                    }
                }
            }
        }
        self.room.notify_waiters();
        self.journal.release_all(batch.tokens);
        batch.records.append(&mut batch.unwanted);
        safe.are_safe(&batch.ids, &batch.records).await;
        true
    }

    /// Looks for the record that the store refused: in halves, until it is
    /// alone. `true` if it was found to be refused for good and set aside.
    fn refused(&self, batch: &Batch, error: &whisker_store::Error) -> bool {
        let mut state = self.state();
        if let [record] = &batch.records[..] {
            let taken = state.taken;
            let unavailable = matches!(error, whisker_store::Error::Unavailable(_));
            let first = state.queue.iter_mut().take(batch.length);
            let Some(pending) = first.into_iter().find(|pending| pending.id == record.id) else { return false };
            // While nobody's is taken, the store is away.
            if unavailable && pending.refusals.at < taken {
                pending.refusals = Refusals { number: pending.refusals.number + 1, at: taken };
            }
            if !unavailable || pending.refusals.number >= REFUSALS {
                drop(state);
                self.set_aside(record, error);
                return true;
            }
            // Others first.
            state.queue.rotate_left(batch.length);
            return false;
        }
        state.batch_max = (batch.length / 2).max(1);
        false
    }

    fn set_aside(&self, record: &Activation, error: &whisker_store::Error) {
        metrics::counter!("invoker_records_refused_total").increment(1);
        let kept = self.refused.keep_as_json(&error.to_string(), record);
        let (error, file) = (error as &dyn std::error::Error, self.refused.path().display());
        match kept {
            Ok(()) => {
                tracing::error!(activation.id = %record.id, error, %file, "The store refuses a record for good: it is set aside")
            }
            Err(kept) => {
                let kept = &kept as &dyn std::error::Error;
                tracing::error!(activation.id = %record.id, error, %file, kept, "The store refuses a record for good, and it could not be set aside: it is lost");
            }
        }
    }

    fn batch(&self, pace: Pace) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let state = self.state();
        for pending in state.queue.iter().take(pace.batch_records.min(state.batch_max)) {
            if bytes > 0 && bytes + pending.bytes > pace.batch_bytes {
                break;
            }
            bytes += pending.bytes;
            batch.length += 1;
            match &pending.body {
                Body::Held(record, token) => {
                    batch.records.push(record.clone());
                    batch.tokens.extend(*token);
                }
                Body::OnDisk(token) => match self.read(*token) {
                    Ok(record) => {
                        batch.records.push(Arc::new(record));
                        batch.tokens.push(*token);
                    }
                    // Its message stays on the bus, so that a later life
                    // leaves a record of it all the same.
                    Err(error) => {
                        let error = &*error as &dyn std::error::Error;
                        tracing::error!(activation.id = %pending.id, error, "A record in the spool cannot be read");
                        continue;
                    }
                },
                Body::Unwanted(record) => batch.unwanted.extend(record.clone()),
            }
            batch.ids.push(pending.id);
        }
        batch
    }

    fn read(&self, token: Token) -> Result<Activation, Box<dyn std::error::Error + Send + Sync>> {
        let entry = self.journal.read(token)?;
        Ok(serde_json::from_slice(entry.payload.get(ID_BYTES..).unwrap_or_default())?)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, pending: Pending) {
        let first = state.queue.is_empty();
        state.bytes += pending.bytes;
        state.queue.push_back(pending);
        drop(state);
        if first {
            self.news.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each holder leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn new(id: ActivationId, body: Body, bytes: u64) -> Pending {
        Pending { id, body, bytes, refusals: Refusals::default() }
    }
}

/// The first few of the queue, ready to be written.
#[derive(Default)]
struct Batch {
    length: usize,
    records: Vec<Arc<Activation>>,
    unwanted: Vec<Arc<Activation>>,
    ids: Vec<ActivationId>,
    tokens: Vec<Token>,
}
