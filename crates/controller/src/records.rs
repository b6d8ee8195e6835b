//! Records that the controller writes itself: of sequences and compositions,
//! and of whatever else has no invoker to do it.
//!
//! A record goes to the store off its caller's path, and again until the store
//! takes it. Those that were promised stand in a journal on this host before
//! that: a *promise* is the record that an activation would have if the
//! process died now. Should it die, the next one brings that to the store,
//! which keeps the real record if it is there already. So an accepted
//! activation has exactly one record, and none that was answered waits for a
//! disk.
//!
//! Not here: batching, which is the store's; records of runs, which are the
//! invokers'.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use whisker_entity::Activation;
use whisker_journal::{Journal, Refused, Token};
use whisker_store::{Activations, Error};

use crate::rejection::Rejection;

/// Tag of a journal entry: a record as JSON.
const RECORD: u8 = 1;
/// Bytes of records that wait for the store, beyond which nothing is begun
/// that would add to them.
const UNWRITTEN_MAX_BYTES: u64 = 256 << 20;
/// The file of records that the store refuses, beside the journal's folder.
const REFUSED: &str = "refused-records-of-controller.jsonl";
/// What a record costs in memory besides its result and logs.
const OVERHEAD_BYTES: u64 = 1024;
/// Pauses between two tries, doubled each time, while the store is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The way of the controller's own records to the store.
pub struct Records {
    activations: Arc<dyn Activations>,
    journal: Journal,
    tasks: TaskTracker,
    unwritten_bytes: AtomicU64,
    /// What a former life promised and did not keep.
    left: Mutex<Vec<Token>>,
    refused: Refused,
}

/// A record is owed, and this process's end does not change that.
#[derive(Debug)]
#[must_use = "a promise is kept by writing the record"]
pub struct Promise(Token);

impl Records {
    /// Opens the journal, alone, and finds what a former life left in it. That
    /// is brought to the store by [`recover`](Self::recover).
    pub fn open(
        config: whisker_journal::Config,
        activations: Arc<dyn Activations>,
    ) -> Result<Arc<Self>, whisker_journal::Error> {
        let (journal, recovery) = Journal::open(config.clone())?;
        let refused = Refused::beside(&config, REFUSED);
        if let Some(torn) = &recovery.torn {
            tracing::warn!(file = %torn.file.display(), bytes = torn.bytes, "the journal of promised records ended in a torn one, which was cut off");
        }
        for lost in &recovery.lost {
            tracing::error!(file = %lost.file.display(), offset = lost.offset, bytes = lost.bytes, "a part of the journal of promised records is lost");
        }
        Ok(Arc::new(Self {
            activations,
            journal,
            tasks: TaskTracker::new(),
            unwritten_bytes: AtomicU64::new(0),
            left: Mutex::new(recovery.live.iter().map(|live| live.token).collect()),
            refused,
        }))
    }

    /// Makes durable what an activation's record is unless another one is
    /// written.
    pub async fn promise(&self, record: &Activation) -> Result<Promise, Rejection> {
        let text = serde_json::to_vec(record).map_err(|_| Rejection::Internal(whisker_api::messages::INTERNAL))?;
        match self.journal.append(RECORD, &text).await {
            Ok(token) => Ok(Promise(token)),
            Err(error) => {
                tracing::error!(
                    activation.id = %record.id,
                    error = &error as &dyn std::error::Error,
                    "an activation could not be accepted: its record cannot be promised"
                );
                Err(Rejection::Unavailable(whisker_api::messages::UNAVAILABLE))
            }
        }
    }

    /// Has a record written, for as long as that takes, and a promise kept by it.
    pub fn write(self: &Arc<Self>, record: Arc<Activation>, promise: Option<Promise>) {
        let bytes = size(&record);
        self.unwritten_bytes.fetch_add(bytes, Ordering::Relaxed);
        let records = self.clone();
        self.track(async move {
            records.store(std::slice::from_ref(&record)).await;
            records.unwritten_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(Promise(token)) = promise {
                records.journal.release(token);
            }
        });
    }

    /// Whether so much waits for the store that nothing should be begun.
    pub fn is_full(&self) -> bool {
        self.unwritten_bytes.load(Ordering::Relaxed) > UNWRITTEN_MAX_BYTES
    }

    /// Runs something to its end, whoever waits for it; [`close`](Self::close)
    /// waits.
    pub fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Sees something through that takes several writes, of which some are
    /// worse than none or all: it ends also when its client has left, and what
    /// came of it is then nobody's to hear.
    pub async fn see_through<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Rejection>> + Send + 'static,
    ) -> Result<T, Rejection> {
        let (answer, answered) = oneshot::channel();
        self.track(async move { drop(answer.send(task.await)) });
        answered.await.unwrap_or(Err(Rejection::Internal(whisker_api::messages::INTERNAL)))
    }

    /// Brings to the store what a former life promised.
    pub fn recover(self: &Arc<Self>) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        if left.is_empty() {
            return;
        }
        tracing::info!(records = left.len(), "activations that were interrupted are recorded");
        let records = self.clone();
        self.track(async move {
            for token in left {
                records.recover_one(token).await;
            }
        });
    }

    async fn recover_one(&self, token: Token) {
        let entry = match self.journal.read(token) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(
                    journal.token = %token,
                    error = &error as &dyn std::error::Error,
                    "a promised record cannot be read; it stays in the journal"
                );
                return;
            }
        };
        match serde_json::from_slice::<Activation>(&entry.payload) {
            Ok(record) if entry.tag == RECORD => {
                self.store(&[Arc::new(record)]).await;
                self.journal.release(token);
            }
            Ok(_) | Err(_) => {
                tracing::error!(journal.token = %token, "a promised record is of another version; it stays in the journal");
            }
        }
    }

    /// Stores a record, however long the store is away. One that it refuses for
    /// good is set aside in a file.
    async fn store(&self, records: &[Arc<Activation>]) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.activations.put(records).await {
            if !matches!(error, Error::Unavailable(_)) {
                return self.set_aside(records, &error);
            }
            tracing::warn!(error = &error as &dyn std::error::Error, "a record waits for the store");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn set_aside(&self, records: &[Arc<Activation>], error: &Error) {
        for record in records {
            let (source, file) = (error as &dyn std::error::Error, self.refused.path().display());
            tracing::error!(activation.id = %record.id, error = source, %file, "the store refuses a record for good: it is set aside");
            metrics::counter!("controller_records_refused_total").increment(1);
            if let Err(error) = self.refused.keep_as_json(&error.to_string(), &**record) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(activation.id = %record.id, error, "it could not be set aside: it is lost");
            }
        }
    }

    /// How many promises are not kept yet, those of a former life included.
    pub fn promised(&self) -> usize {
        self.journal.stats().live_entries
    }

    /// Waits until nothing runs and all is written. What a caller cuts off by
    /// not waiting so long stays promised.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn size(record: &Activation) -> u64 {
    OVERHEAD_BYTES + record.bulk_bytes()
}

#[cfg(test)]
mod tests;
