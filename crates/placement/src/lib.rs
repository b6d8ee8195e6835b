//! Which invoker runs what: the decisions of a controller about its invokers,
//! and nothing else.
//!
//! A [`Placement`] is asked for an invoker ([`Placement::book`]), hears what
//! happened ([`Event`]) and answers with what is to be done ([`Order`]). It
//! sends nothing, reads no clock and rolls no dice: each call comes with its
//! time, and with a random number where one may be needed. Whoever carries the
//! orders out owns the way to the invokers; the placement owns the truth about
//! what of them is booked.
//!
//! A controller's share of an invoker is all of its memory, or, with several
//! controllers, an even part. With [`Policy::Bounded`] it is also a part of
//! what nobody takes, once invokers say what runs take ([`Event::Ping`]); what
//! others take it is never.
//!
//! What it keeps, whatever the order of events:
//!
//! - Only an invoker that is [`Health::Healthy`] is chosen.
//! - Memory that is booked of an invoker never exceeds this controller's share
//!   of it, unless nobody has room: then the run is *forced* upon one, and
//!   [`Placed::forced`] says so.
//! - What was booked is free again after one end: its completion, its
//!   time-out, or that it was never sent. What comes later changes nothing.
//! - It grows with what is under way and with what invokers have memory for,
//!   not with time.
//!
//! # Two policies
//!
//! | | [`Policy::Sharding`] | [`Policy::Bounded`] |
//! | --- | --- | --- |
//! | is | OpenWhisk's (`sharding.rs`) | ours, and the default (`bounded.rs`) |
//! | home of an action | hash modulo the number of invokers | consistent hashing |
//! | when an invoker joins | nearly all homes move | those move that go to it |
//! | next choice | a fixed step further | wherever the action is warm, then its next hash |
//! | an invoker is full | when its memory is booked | somewhat above what all have on average |
//! | nobody has room | anybody | the least loaded of a few, those who run the action before others |
//!
//! Both share the books (`fleet.rs`, `warm.rs`, `ledger.rs`), and the state
//! machine of an invoker's health (`health.rs`), which is OpenWhisk's.

mod action;
mod bounded;
mod config;
mod event;
mod fleet;
mod health;
mod ledger;
mod placement;
mod ring;
mod sharding;
mod warm;

pub use action::{Action, Want};
pub use config::{Config, Policy};
pub use event::{Counts, Event, Invoker, Member, Order, Placed, Refusal};
pub use health::{End, Health};
pub use placement::Placement;
pub use sharding::steps;
