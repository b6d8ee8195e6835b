//! The bus of a server that is controller and invoker in one process.
//!
//! Messages pass by pointer through one bounded queue. Those that were
//! accepted stand in a [journal](whisker_journal) as well, from before the
//! caller hears of it until their record is safe:
//!
//! | call | of a message merely sent | of one accepted |
//! | --- | --- | --- |
//! | `send` | queue | journal, then queue |
//! | `secure` | journal: it is accepted from now on | nothing |
//! | `starting` | a flag | journal |
//! | `retry` | refused | journal: the run that failed; it waits aside until it is due |
//! | `bury` | forgotten | journal: the letter; it waits aside until that is posted |
//! | `done` | forgotten | released in the journal, all entries at once |
//! | crash | gone, as promised | delivered again |
//!
//! A warm blocking call is sent, run and done without touching a file, with
//! one hop from task to task on the way there, and none on the way back: the
//! invoker's task calls the controller's sink itself.
//!
//! # What it leaves to others
//!
//! There is one queue for whatever invoker is named, since there is one
//! invoker. Nothing is retried unasked, no lease runs out: both sides live and
//! die together, so a message is delivered once in each life, and once more
//! each time its invoker puts it aside. What waits aside is in the journal
//! only: a hundred bytes of memory each.
//!
//! # Why not a channel?
//!
//! Each message is looked up by its id when it starts and when it is done, so
//! there is a table beside the queue, with a lock of its own. Under that lock
//! the queue is a `VecDeque`, and only the wake-up is left to [`Notify`]. A
//! channel would be a second lock and a second count of the same messages.
//!
//! [`Notify`]: tokio::sync::Notify

mod aside;
mod bus;
mod config;
mod entry;
mod ledger;
mod restore;

pub use bus::{Depth, EmbeddedBus, Recovered};
pub use config::Config;
