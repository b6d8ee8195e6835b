//! Reading everything, for whoever copies or checks a store.

use std::sync::Arc;

use whisker_entity::{EntityName, NamespaceLimits, Subject};

use crate::Error;

/// A place between two documents, as the store that gave it notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Arc<str>);

/// How much one step of a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Documents, at most; at least 1.
    pub limit: u64,
    /// Bytes after which no further document is begun, so that the largest
    /// one comes too.
    pub max_bytes: u64,
}

/// One step of a scan.
///
/// A scan that follows `next` from the beginning gives each document that is
/// there all the time exactly once, in an order of the store's own. What is
/// written or deleted meanwhile may be given or not.
#[derive(Debug)]
pub struct Scan<T> {
    /// What was read. [`Error::Corrupt`] in the place of a document that
    /// cannot be understood; any other failure is that of the whole step.
    pub items: Vec<Result<T, Error>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What is kept beside the entities and the records.
#[derive(Debug, Clone)]
pub enum Registered {
    /// Who may authenticate, blocked or not.
    Subject(Subject),
    /// The limits that a namespace has of its own.
    Limits(EntityName, NamespaceLimits),
}
