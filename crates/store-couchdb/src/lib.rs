//! The store in a CouchDB, in OpenWhisk's own documents: an existing OpenWhisk
//! database opens as it is, and OpenWhisk could go back to it.
//!
//! ```text
//! <prefix>whisks       actions, packages, triggers, rules   ns/[pkg/]name
//! <prefix>activations  records                              ns/activationId
//! <prefix>subjects     subjects and limits                  subject, ns/limits
//! ```
//!
//! # How it works
//!
//! - **Documents** have OpenWhisk's members; members that are not known stay when a document is written again. A document's revision is
//!   CouchDB's `_rev`, so that of two writers one hears of a conflict.
//! - **Lists and counts** come from OpenWhisk's views. Those that are missing
//!   are made when the store is opened; those that are there are used as they
//!   are.
//! - **Code** is in its document up to 16 KiB, else an attachment, written
//!   together with the document. `whisker_documents::code` says how it is found by its hash.
//! - **Records** are written many at once, each by itself. A conflict means
//!   that the record is there: the first one stays.
//! - **Changes** by other servers are heard from CouchDB's feed.
//! - **Users' keys** are as OpenWhisk reads them, or sealed where that was
//!   chosen: `whisker_documents::keys`.
//!
//! # What it promises
//!
//! - A server that does not answer is told from one that works on something
//!   long: callers hear of it within the patience that is set, 0.7 s if none is.
//! - A write that failed with [`Error::Unavailable`](whisker_store::Error) may
//!   have been made or not.
//! - Credentials, code and documents are in no log and no error.
//!
//! # What it is not
//!
//! Not a place for texts: CouchDB keeps values, so a result that it would spell
//! in another way has its text beside it, in a member that OpenWhisk does not
//! read. Not atomic across documents: two subjects that claim one
//! namespace at the same moment, on two servers, may both be refused. It does
//! not read code in OpenWhisk's other stores of attachments (S3, Azure).

mod activations;
mod client;
mod config;
mod couchdb;
mod database;
mod designs;
mod entities;
mod error;
mod feed;
mod scan;
mod subjects;

pub use config::{Config, Databases, InvalidUrl};
pub use couchdb::CouchDb;
pub use error::{Failure, OpenError};
pub use whisker_documents::keys::Users;
