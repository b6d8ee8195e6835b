//! Subjects: who may authenticate, and as what.

use async_trait::async_trait;
use whisker_entity::{EntityName, Identity, NamespaceLimits, Subject};

use crate::{Changes, Cursor, Error, Portion, Registered, Scan};

/// The database OpenWhisk calls *subjects*.
#[async_trait]
pub trait Subjects: Send + Sync + 'static {
    /// Whoever owns the namespace with this uuid, with its key (which the
    /// caller compares) and its limits. [`Error::Missing`] for unknown uuids
    /// and for those of blocked subjects.
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error>;

    /// Whoever owns the namespace of this name; else as [`by_uuid`](Self::by_uuid).
    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error>;

    /// Reads a subject, blocked or not.
    async fn get(&self, subject: &str) -> Result<Subject, Error>;

    /// Creates or replaces a subject. [`Error::Stale`] if the name or the uuid
    /// of one of its namespaces belongs to another subject, or to two of them.
    async fn put(&self, subject: &Subject) -> Result<(), Error>;

    /// Deletes a subject. Its entities stay.
    async fn delete(&self, subject: &str) -> Result<(), Error>;

    /// All subjects, by name.
    async fn list(&self) -> Result<Vec<Subject>, Error>;

    /// The limits of a namespace that differ from the operator's; all default
    /// where none are stored. Limits belong to the namespace's name: they
    /// outlive its subject.
    async fn limits(&self, namespace: &EntityName) -> Result<NamespaceLimits, Error>;

    /// Replaces the limits of a namespace; `None` takes them away.
    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error>;

    /// Reads everything, a portion behind `after` at a time.
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error>;

    /// Writes subjects that are kept in clear, or under an older key, under
    /// the newest: a portion behind `after`. Nothing where none are encrypted;
    /// where that is a choice, and keys are to be in clear, sealed ones so.
    async fn renew(&self, after: Option<&Cursor>) -> Result<Renewed, Error> {
        let _ = after;
        Ok(Renewed::default())
    }

    /// What other servers write from now on, where there can be others.
    fn changes(&self) -> Changes {
        Changes::none()
    }
}

/// One step of [`Subjects::renew`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// How many were written.
    pub written: u64,
    /// Names of those that stay as they are, since no key opens them.
    pub left: Vec<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl Renewed {
    /// Counts one, of which is told whether it was written; one that no key
    /// opens is left.
    pub fn count(&mut self, written: Result<bool, Error>) -> Result<(), Error> {
        match written {
            Ok(written) => self.written += u64::from(written),
            Err(Error::Corrupt(name, _)) => self.left.push(name),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
