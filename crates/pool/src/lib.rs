//! Which container runs what: the decisions of an invoker, and nothing else.
//!
//! A [`Pool`] hears what happened ([`Event`]) and answers with what is to be
//! done ([`Order`]). It starts no process, reads no clock and waits for
//! nothing: each event comes with its time, and a timer is an event like any
//! other. Whoever carries the orders out owns the containers; the pool owns
//! the truth about them.
//!
//! What it keeps, whatever the order of events:
//!
//! - A run that arrived is given to one container, or refused with a reason,
//!   and is never forgotten nor given twice.
//! - A container serves one action of one namespace in one revision in its life.
//! - Memory counts from the order to start until the container is really gone,
//!   and never exceeds the budget.
//! - Nothing is kept of an action without containers and waiting runs, but
//!   (if told to learn) a histogram of its pauses, of a bounded number of
//!   actions (`keep.rs`).
//!
//! # How a run finds its container
//!
//! 1. One that is busy with the same action and has room (`concurrency`).
//! 2. An idle one of the same action, most recently used first: it is the
//!    least likely to be paused, and the others grow old enough to go.
//! 3. A prewarmed one of the same kind and memory.
//! 4. A new one, if memory allows.
//! 5. Idle ones of others are removed, least recently used first, prewarmed
//!    ones last (`evict.rs`); the run waits until their memory is free.
//! 6. Else it waits for one of these.
//!
//! Runs that wait are not bound to a container: whichever is ready first takes
//! the oldest run of its action, so a container that dies while it starts
//! takes nobody with it. Actions that need a new container take turns, first
//! by namespace, then by action (`claims.rs`), so that one namespace's burst
//! does not keep the others out. As long as memory is short, the containers of
//! busy actions give way to runs that have waited longer than
//! [`Config::patience`].

mod action;
mod claims;
mod config;
mod event;
mod evict;
mod keep;
mod lists;
mod pool;
mod prewarm;
mod slot;

pub use action::{Key, Shape, Ticket, Want};
pub use config::Config;
pub use event::{Counts, End, Event, Order, Reason, Refusal, SlotId};
pub use keep::KeepPolicy;
pub use pool::Pool;
pub use prewarm::Stem;
