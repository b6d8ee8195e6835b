//! Actions as the hot path reads them: from memory, unless somebody wrote.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use moka::sync::Cache;
use whisker_dispatch::Dispatch;
use whisker_entity::{Millis, QualifiedName};
use whisker_store::{Change, Document, Entities, Error, Revision, Stored};

/// The entity store, with what was read lately kept at hand.
///
/// All writes of this process go through here, so a reader sees every write
/// that was answered before it began; of other servers' writes it [hears](Self::hear),
/// and of its own it tells the other controllers of a cluster.
pub struct Documents {
    entities: Arc<dyn Entities>,
    dispatch: Arc<Dispatch>,
    read: Cache<QualifiedName, Arc<Stored>>,
    /// Counts writes, so that a read that was overtaken by one is not kept.
    writes: AtomicU64,
    keeping: Mutex<()>,
    /// The last time that a document was stamped with.
    stamped: AtomicU64,
}

/// How far stamps may run ahead of the clock, in ms, before some are equal.
const AHEAD_MAX_MS: Millis = 1000;

/// Documents kept at hand. Code is not among them: it stays attached.
const KEPT_MAX: u64 = 20_000;

impl Documents {
    /// With nothing read yet.
    pub fn new(entities: Arc<dyn Entities>, dispatch: Arc<Dispatch>) -> Self {
        Self {
            entities,
            dispatch,
            read: Cache::builder().max_capacity(KEPT_MAX).build(),
            writes: AtomicU64::new(0),
            keeping: Mutex::new(()),
            stamped: AtomicU64::new(0),
        }
    }

    /// The store itself, for what needs no memory.
    pub fn entities(&self) -> &Arc<dyn Entities> {
        &self.entities
    }

    /// The time to date a document with. Lists are ordered by it, so no two of
    /// this process are dated alike, as long as not many are written in each
    /// millisecond.
    pub fn stamp(&self, now: Millis) -> Millis {
        let next = |last: Millis| if last >= now && last < now + AHEAD_MAX_MS { last + 1 } else { now };
        let last = self.stamped.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        last.map_or(now, next)
    }

    /// Asks the store for something, to see whether it answers.
    pub async fn probe(&self) -> Result<(), Error> {
        let Ok(name) = "whisk.system/none".parse() else { return Ok(()) };
        match self.entities.get(&name).await {
            Ok(_) | Err(Error::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads one.
    pub async fn get(&self, name: &QualifiedName) -> Result<Arc<Stored>, Error> {
        if let Some(stored) = self.read.get(name) {
            return Ok(stored);
        }
        let writes = self.writes.load(Ordering::Acquire);
        let stored = Arc::new(self.entities.get(name).await?);
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.writes.load(Ordering::Acquire) == writes {
            self.read.insert(name.clone(), stored.clone());
        }
        Ok(stored)
    }

    /// Writes one.
    pub async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let written = self.entities.put(document, based_on).await;
        let name = document.qualified_name();
        self.forget(&name);
        self.dispatch.tell_changed(&name).await;
        written
    }

    /// Deletes one.
    pub async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let deleted = self.entities.delete(name, based_on).await;
        self.forget(name);
        self.dispatch.tell_changed(name).await;
        deleted
    }

    /// Forgets what another server wrote.
    pub fn hear(&self, change: &Change) {
        match change {
            Change::Document(name) => self.forget(name),
            Change::Anything => {
                let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
                self.writes.fetch_add(1, Ordering::AcqRel);
                self.read.invalidate_all();
            }
        }
    }

    /// Also after a failed write: who knows what became of it.
    fn forget(&self, name: &QualifiedName) {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.writes.fetch_add(1, Ordering::AcqRel);
        self.read.invalidate(name);
    }
}
