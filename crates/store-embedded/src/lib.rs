//! The store in one SQLite file: what a single machine needs, and no server.
//!
//! ```text
//! data_dir/  store.lock         flock: one server at a time
//!            store.db           the database (mode 0600: it holds keys)
//!            store.db-wal, -shm its write-ahead log, while it is open
//! ```
//!
//! # How it works
//!
//! - **One writer.** A thread owns the only connection that writes. Callers
//!   queue their changes; whatever waits is applied in one transaction, and
//!   everyone hears after its commit. So a busy server pays for a commit once
//!   per group, and no two writers ever meet.
//! - **Readers beside it.** In WAL mode readers and the writer do not wait for
//!   each other. Reads of one small row run on the caller's thread: they take
//!   5 to 10 µs, a hop to another thread and back 20 to 60. Lists, counts and
//!   large texts go to the blocking pool, a bounded number at once.
//! - **Checkpoints elsewhere.** SQLite's own checkpoint runs inside an unlucky
//!   commit and takes ten milliseconds. Here a thread of its own copies the
//!   log back while the writer goes on.
//! - **Large code in pieces**, so that an upload of 48 MB lets others write in
//!   between.
//! - **Counters, not scans.** How many documents a list has, and how many
//!   records an action, is kept in rows that change in the same transaction.
//!
//! # What it promises
//!
//! - A write that answered is there after `kill -9` ([`Durability::Process`])
//!   or after a loss of power ([`Durability::Power`]). Neither corrupts.
//! - A write that answered [`Error::Unavailable`](whisker_store::Error) was
//!   not made, unless the text says that its time ran out: then it is unknown.
//! - A full disk fails writes, not reads, and heals by itself.
//! - Data of a newer version is refused, with a text that says so; that of an
//!   older one is brought forward, never back.
//!
//! # What it is not
//!
//! Not equally fast everywhere: a list's `skip` walks the index over what it
//! leaves out, and a count with `since` or `upto` walks what it counts, some
//! 30 ms a million. Not for network file systems, where neither locks nor
//! shared memory hold. Not for two servers: for that there are the other
//! members of `store`. The file does not shrink; what retention frees is used
//! again.

mod activations;
mod checkpoint;
mod code;
mod config;
mod connection;
mod embedded;
mod entities;
mod error;
mod lock;
mod readers;
mod scan;
mod schema;
mod series;
mod subjects;
mod writer;

pub use config::{Config, Durability};
pub use embedded::Embedded;
pub use error::OpenError;
