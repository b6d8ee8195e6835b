//! Activation records.

use std::sync::Arc;

use async_trait::async_trait;
use whisker_entity::{Activation, ActivationId, EntityName, Millis, Parameters, QualifiedName, Status, Version};

use crate::{Cursor, Error, Page, Portion, Scan};

/// The database OpenWhisk calls *activations*.
#[async_trait]
pub trait Activations: Send + Sync + 'static {
    /// Writes records, all or none; returns once they are durable. Writing a
    /// record that is there already is fine and changes nothing: whoever
    /// recovers from a crash writes again what it is not sure of.
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error>;

    /// Reads one of a namespace. [`Error::Missing`] if it is not there, or is
    /// another namespace's.
    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error>;

    /// Which of these of a namespace are stored, in the order asked: for
    /// recovery. Ids are unique across namespaces, so a store may look for them
    /// in all.
    async fn known(&self, namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error>;

    /// Summaries, newest first: by `start`, then by id, both descending.
    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error>;

    /// Whole records, in the order of [`list`](Self::list).
    /// [`Error::TooLarge`], before more than that is in memory, if their
    /// results and logs have more than `max_bytes` together.
    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error>;

    /// How many [`list`](Self::list) would give without a page.
    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error>;

    /// Forgets old records of all namespaces, oldest first (by `start`, then
    /// by id), in one step of bounded length; answers how many went, so that
    /// the caller goes on until that is 0.
    async fn prune(&self, retention: Retention) -> Result<u64, Error>;

    /// Reads everything, of all namespaces, a portion behind `after` at a time.
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error>;
}

/// Which records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationQuery {
    /// Whose.
    pub namespace: EntityName,
    /// Only those of this action, by [`Activation::filter_name`]: none where
    /// it is in another namespace.
    pub name: Option<QualifiedName>,
    /// Only those that started then or later.
    pub since: Option<Millis>,
    /// Only those that started then or earlier.
    pub upto: Option<Millis>,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Records that started before this go.
    pub not_before: Millis,
    /// Beyond so many, the oldest go.
    pub max_count: u64,
}

/// A record without its result and logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Of whoever invoked.
    pub namespace: EntityName,
    /// Of what ran.
    pub name: EntityName,
    /// Names the record.
    pub id: ActivationId,
    /// When it began.
    pub start: Millis,
    /// When it ended; 0 for triggers.
    pub end: Millis,
    /// The activation that caused it.
    pub cause: Option<ActivationId>,
    /// How it ended.
    pub status: Status,
    /// Of what ran.
    pub version: Version,
    /// Facts about the run.
    pub annotations: Parameters,
}

impl From<&Activation> for Summary {
    fn from(a: &Activation) -> Self {
        Self {
            namespace: a.namespace.clone(),
            name: a.name.clone(),
            id: a.id,
            start: a.start,
            end: a.end,
            cause: a.cause,
            status: a.response.status,
            version: a.version,
            annotations: a.annotations.clone(),
        }
    }
}
