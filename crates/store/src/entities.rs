//! Entities: actions, packages, triggers and rules.

use std::sync::Arc;

use async_trait::async_trait;
use whisker_entity::{CodeHash, EntityPath, QualifiedName};

use crate::{Changes, Collection, Cursor, Document, Error, Portion, Revision, Scan, Stored};

/// The database OpenWhisk calls *whisks*.
#[async_trait]
pub trait Entities: Send + Sync + 'static {
    /// Reads one. [`Error::Missing`] if there is none.
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error>;

    /// Writes one. `based_on` is the revision that the writer read, `None`
    /// where it saw none; [`Error::Stale`] if that is no longer so, or if the
    /// name belongs to a document of another kind.
    ///
    /// Inline code is kept apart under its hash, once for all actions that
    /// share it; a document whose code is attached keeps the attachment.
    /// [`Error::Missing`] if that is not there: it went with the last action
    /// that used it.
    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error>;

    /// Deletes one, with the code that no other action uses.
    /// [`Error::Missing`], or [`Error::Stale`] if it was written meanwhile.
    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error>;

    /// The documents of a namespace or of one package, newest first: by
    /// `updated`, then by the text of the full name, both descending, which
    /// is how CouchDB reads OpenWhisk's views backwards. Code stays attached.
    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error>;

    /// How many [`list`](Self::list) would give without a page.
    async fn count(&self, collection: Collection, path: &EntityPath) -> Result<u64, Error>;

    /// The text of attached code. [`Error::Missing`] if no action uses it.
    async fn code(&self, hash: CodeHash) -> Result<Arc<str>, Error>;

    /// Reads everything, a portion behind `after` at a time; code stays
    /// attached.
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Stored>, Error>;

    /// What other servers write from now on, where there can be others.
    fn changes(&self) -> Changes {
        Changes::none()
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many to leave out at the beginning.
    pub skip: u64,
    /// How many to give at most.
    pub limit: u64,
}
