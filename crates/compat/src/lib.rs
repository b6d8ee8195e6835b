//! Is it OpenWhisk? Replays exchanges that a real Apache OpenWhisk had with
//! its clients, against any server that speaks the same API.
//!
//! `compat/golden/` holds the exchanges, as plain data (its README says how to
//! read them). [`Document`] is one file of them; [`Replay`] sends its requests
//! and compares what comes back, place by place. `compat/differences.json` says
//! what Whisker answers otherwise on purpose, and why: a step that differs from
//! the recording must then give exactly the answer written down there, so that
//! the list cannot hide a mistake, and an entry that is not needed any more
//! fails too. `docs/compatibility.md` tells users the same ([`guide`]).
//!
//! [`Commands`] does the same with what the original `wsk` printed.
//!
//! The recording is never edited to fit us.

mod commands;
mod compare;
mod differences;
mod document;
pub mod guide;
mod headers;
mod placeholder;
mod replay;

use std::path::PathBuf;

pub use commands::Commands;
pub use compare::values as differences;
pub use differences::Differences;
pub use document::Document;
pub use placeholder::{Variables, expand};
pub use replay::{Auths, Replay, Tally};

/// The folder `compat/` of this repository.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat"))
}
