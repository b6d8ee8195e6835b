//! OpenWhisk's documents: the shapes in which its databases keep entities,
//! records and subjects, for the stores that keep them so.
//!
//! Here is what CouchDB and Cosmos DB have in common: members, dates, code in
//! its document or beside it, results that a database of values would spell in
//! another way. How a document is found, written and told from an older state
//! is each store's own. A document comes with its name as `_id` and its
//! revision as `_rev`, as OpenWhisk's code sees it in every database.

pub mod code;
pub mod cut;
pub mod keys;
pub mod record;
pub mod shape;
pub mod storable;
pub mod subject;

use whisker_store::Error;

/// A document that is there and cannot be understood.
pub fn corrupt(id: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Corrupt(id.to_owned(), error.into())
}
