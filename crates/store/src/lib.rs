//! The store: where entities, activations and subjects are kept.
//!
//! Three traits, as OpenWhisk keeps three databases (*whisks*, *activations*,
//! *subjects*): what an entity needs (revisions, code) an activation record
//! does not, and each may live in another place. A backend implements all
//! three; its callers hold only what they use.
//!
//! Here is no cache and no rule of what an entity means: the controller knows
//! who may write what, a store only that a write based on an old revision is
//! refused. Time is brought in by documents (`updated`, `start`); a store
//! reads no clock.
//!
//! [`Memory`] is the member that keeps nothing; the contract that every member
//! keeps is in `testing`, as tests (feature `testing`).

mod activations;
mod changes;
mod document;
mod entities;
mod error;
mod memory;
pub mod record;
mod scan;
pub mod sealed;
mod subjects;
#[cfg(feature = "testing")]
pub mod testing;

pub use activations::{ActivationQuery, Activations, Retention, Summary};
pub use changes::{Change, Changes};
pub use document::{Collection, Document, Revision, Stored};
pub use entities::{Entities, Page};
pub use error::Error;
pub use memory::Memory;
pub use scan::{Cursor, Portion, Registered, Scan};
pub use subjects::{Renewed, Subjects};
