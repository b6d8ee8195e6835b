//! An invoker: takes activation messages from the bus, has each run in a
//! container, and sees to it that each leaves its record.
//!
//! What it promises to a controller:
//!
//! - A message that it took ends in exactly one record, or stays on the bus.
//!   A run that was under way when the server died is not run again, unless
//!   its action asks for retries: it is recorded as interrupted.
//! - The outcome of a blocking activation goes back as soon as it is known,
//!   before its logs are collected and its record is written.
//! - A finished record is on this host's disk, in the [`Spool`], before the
//!   completion is sent: the database may be away for as long as the disk
//!   has room.
//! - Whatever user code does is an outcome. What the platform fails at is told
//!   as the platform's fault.
//!
//! What it does not do: choose an invoker, know who may invoke what, or merge
//! parameters. All that was done before the message was sent.
//!
//! `whisker-pool` decides which container takes which run; this crate carries
//! that out. A warm run costs one lock of the pool and one task, which also
//! does the container's next run if one waits: there is no task in between to
//! be woken, since a wake-up across cores costs more than the run's transport.

mod again;
mod arguments;
mod cache;
mod config;
mod engine;
mod error;
mod invoker;
mod keeper;
mod meters;
mod outcome;
mod record;
mod resolve;
mod run;
mod spool;
mod trace;
mod words;

pub use config::Config;
pub use error::Error;
pub use invoker::{Clock, Invoker, Load, Parts};
pub use spool::{Pressure, Spool};
