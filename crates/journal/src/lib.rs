//! A small append-only log that keeps what was accepted until it is done.
//!
//! Two parts of Whisker promise something before they have done it: the bus
//! answers for messages that no invoker has finished, and an invoker answers
//! for records that the store has not taken yet. Both append the promise
//! here, and *release* it once it is kept. What was never released is there
//! again after a crash, in the order in which it came.
//!
//! ```text
//! folder/  lock                    flock: one process at a time
//!          0000000000000007.seg    header │ frame │ frame │ …   sealed
//!          0000000000000008.seg    header │ frame │ …           written now
//! ```
//!
//! # What it promises
//!
//! - An [`Append`] that answered is there after `kill -9` ([`Durability::Process`])
//!   or after the machine lost power ([`Durability::Power`]), until released.
//! - An append that failed leaves nothing behind, and a later one may succeed:
//!   a full disk heals by itself.
//! - An append that was never answered (the process died first, or the future
//!   was dropped) may be there after a restart or may not.
//! - A released entry comes back only if the process died before the release
//!   was written: in mode `Process` that is before [`Journal::release`]
//!   returned, or while the disk was full; in mode `Power` until the next
//!   group is synced. Callers must take an entry that they have seen already.
//! - The folder takes at most about `2 × live + 4 × segment` bytes: a segment
//!   that holds nothing live is deleted, and when an old entry keeps too many
//!   dead neighbours on disk it is copied forward, a little with each append.
//! - A torn tail is cut off, and reported. Damage anywhere else is refused
//!   with the file and the offset, or salvaged when that is asked for; the
//!   file is then kept aside. Nothing is dropped in silence.
//! - Where keys are given ([`Config::seals`]) entries are sealed on their way
//!   to disk: only tags, lengths and times can be read there.
//!
//! # What it is not
//!
//! Not a queue: who gets which entry, and when, is the caller's business. Not
//! a database: entries are opaque bytes with one byte of tag. Not replicated.
//!
//! # Why not SQLite, which the store has anyway?
//!
//! A promise lives for milliseconds. Kept as a row it is inserted and deleted,
//! in groups, some 50,000 times a second on the machine on which an append with
//! its release runs 500,000 times; and when SQLite moves its log into the file,
//! the one writer stands still for ten milliseconds.

mod append;
mod config;
mod error;
mod file;
mod frame;
mod group;
mod journal;
mod log;
mod payload;
mod recover;
mod refused;
mod segment;

pub use append::{Append, Token};
pub use config::{Config, Damaged, Durability, MAX_ENTRY_BYTES};
pub use error::Error;
pub use journal::{Entry, Journal, Stats};
pub use recover::{Live, Lost, Recovery, Torn};
pub use refused::Refused;

/// Parses outside bytes as a segment file, for the fuzz target. Returns how
/// many whole frames it found.
#[cfg(feature = "fuzzing")]
pub fn fuzz_segment(bytes: &[u8]) -> usize {
    segment::fuzz(bytes)
}

#[cfg(test)]
mod tests;
