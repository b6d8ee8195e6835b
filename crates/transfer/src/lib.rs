//! Moving everything from one store to another, whatever they are, and reading
//! a store to see whether all of it is understood.
//!
//! A copy is a scan of the source and a write for each document; what is there
//! already is left as it is. So one that was broken off is simply run again,
//! with leave to find something there. At the end the target is read as a
//! whole: as many documents of each kind must come out of it, with the same
//! content, as went in, and each code under its own hash.
//!
//! Nobody should write to either store meanwhile. Nothing here finds out; the
//! comparison at the end does.
//!
//! What does not survive: revisions, which are a store's own, and clients never
//! see.

mod check;
mod copy;
mod digest;
mod meter;

use std::sync::Arc;

use whisker_store::{Activations, Entities, Portion, Subjects};

pub use check::{Report, check};
pub use copy::{Copied, CopyError, copy};
pub use digest::{Content, Digest};

/// A store as a whole.
#[derive(Clone)]
pub struct Whole {
    /// Actions and the like.
    pub entities: Arc<dyn Entities>,
    /// Records.
    pub activations: Arc<dyn Activations>,
    /// Users and limits.
    pub subjects: Arc<dyn Subjects>,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Users and limits.
    Users,
    /// Actions and the like, with their code.
    Entities,
    /// Records.
    Records,
    /// The target of a copy is read again, as a whole.
    Comparing,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// With what.
    pub stage: Stage,
    /// Documents of the stage that are done.
    pub done: u64,
    /// How many there are, as far as that is known: the stores' own counts,
    /// which leave out namespaces that nobody owns.
    pub all: Option<u64>,
}

/// Hears how far it is.
pub type Progress<'a> = &'a (dyn Fn(Reached) + Sync);

/// What one step reads: a batch that any store takes at once.
const PORTION: Portion = Portion { limit: 500, max_bytes: 4 << 20 };
