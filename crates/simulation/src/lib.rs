//! A cluster on a clock of its own: controllers, a bus and invokers, with
//! faults from a seed, to see that nothing is lost or done twice.
//!
//! What decides is the real thing: `whisker-placement` in each controller, and
//! in each invoker `whisker-bus-kafka`'s inbox and reads.
//! What carries out is modelled: a broker (`broker.rs`) that keeps what reached
//! it and gives each partition to one member of a group, and processes that
//! poll it (`reader.rs`). Whatever those do between two decisions, the network
//! and the dice may come between.
//!
//! What goes wrong: processes are killed and start again; are stopped and go on
//! as if nothing had been (zombies, which their group has long given up);
//! are cut off from everything; messages and reports of them are lost, come
//! late, twice and in another order; clocks on the wall jump by an hour. After
//! a while all that ends, everything is started once more, and what was
//! accepted has to come to its end.
//!
//! What has to hold ([`Broken`]) is checked by a ledger of its own
//! (`ledger.rs`), which believes nobody.
//!
//! One seed is one life, the same on every machine. [`Sabotage`] breaks one
//! link of the chain on purpose: a simulation that does not notice is worth
//! nothing.

mod agenda;
mod broker;
mod chaos;
mod controller;
mod event;
mod invoker;
mod ledger;
mod reader;
mod world;

pub use ledger::{Broken, Seen};
pub use world::{run, tell};

/// Which link of the chain is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// None.
    #[default]
    Nothing,
    /// Invokers run what they have not won.
    ClaimsIgnored,
    /// Nothing that an earlier reader may have had is in doubt.
    DoubtIgnored,
    /// Progress is committed when a message is read.
    CommittedEarly,
    /// A message is done before its record is safe.
    DoneEarly,
    /// Controllers hear pings of invokers that are silent.
    SilenceIgnored,
    /// Controllers free memory as soon as a message is sent.
    FreedEarly,
    /// Whatever comes from a partition of another counts as begun.
    InterruptedUnasked,
    /// A run is recorded that was only about to begin.
    RecordedUnrun,
    /// A run whose claim is not answered is recorded as interrupted.
    ClaimGivenUp,
}

impl Sabotage {
    /// All that break something.
    pub const ALL: [Sabotage; 9] = [
        Sabotage::ClaimsIgnored,
        Sabotage::DoubtIgnored,
        Sabotage::CommittedEarly,
        Sabotage::DoneEarly,
        Sabotage::SilenceIgnored,
        Sabotage::FreedEarly,
        Sabotage::InterruptedUnasked,
        Sabotage::RecordedUnrun,
        Sabotage::ClaimGivenUp,
    ];
}
