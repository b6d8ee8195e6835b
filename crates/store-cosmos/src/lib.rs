//! The store in a Cosmos DB, through its SQL API, in OpenWhisk's own documents.
//!
//! ```text
//! DATABASE/whisks       actions, packages, triggers, rules   ns|[pkg|]name
//!          activations  records                              ns|activationId
//!          subjects     subjects and limits                  subject, ns|limits
//!          code         code of 16 KiB and more, in pieces   UUID|NUMBER
//! ```
//!
//! # How it works
//!
//! - **Documents** are OpenWhisk's, with the members that it computes for its
//!   queries (`_c`). A document's revision is its ETag, and a write names the one
//!   that it replaces (`If-Match`), so that of two writers one hears of a conflict.
//! - **Lists and counts** are queries, asked of each range of partition keys and
//!   merged here, as the service wants it of its clients.
//! - **Deleted** entities and subjects stay for ten hours as documents that say
//!   so, as OpenWhisk's soft deletes: other servers hear of them in the feed of
//!   changes, which knows nothing of documents that are gone.
//! - **Code** is in its document up to 16 KiB. OpenWhisk keeps larger code in a
//!   store of attachments; here it is in a container of its own, in pieces.
//! - **Records** are written each by itself, sixteen at a time: each is a
//!   partition of its own, and nothing joins writes across partitions.
//! - **Users' keys** are as OpenWhisk reads them, or sealed where that was
//!   chosen: `whisker_documents::keys`.
//!
//! # What it promises
//!
//! - A service that does not answer is told from one that works on something
//!   long: callers hear of it within the patience that is set, 0.7 s if none is.
//! - One whose throughput is used up is asked again when it says so, nine times
//!   and for 30 s at most.
//! - A write that failed with [`Error::Unavailable`](whisker_store::Error) may
//!   have been made or not.
//! - Keys, code and documents are in no log and no error.
//!
//! # What it is not
//!
//! Not exact in numbers: the service keeps them as doubles. A result that it
//! would spell in another way has its text beside it; parameters have not. Not
//! atomic across documents: pieces of code may stay behind a process that ends
//! while it writes them. Documents have 2 MB at most: records beyond are cut.

mod activations;
mod client;
mod code;
mod config;
mod container;
mod cosmos;
mod entities;
mod error;
mod feed;
mod query;
mod signature;
mod subjects;

pub use config::{Config, Containers, InvalidUrl};
pub use cosmos::Cosmos;
pub use error::{Failure, OpenError};
pub use signature::Key;
pub use whisker_documents::keys::Users;
