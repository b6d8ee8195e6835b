//! What happened, as an onlooker who believes nobody writes it down, and what
//! must not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use whisker_bus_kafka::claims::Note;
use whisker_entity::ActivationId;

use crate::broker::Broker;

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// It was accepted and has no record.
    Lost(ActivationId),
    /// It ran more often than it may.
    RanTwice(ActivationId),
    /// Its record says that it ran, and it did not.
    Invented(ActivationId),
    /// It was accepted, is recorded as interrupted, and nobody had begun it.
    NeverBegun(ActivationId),
    /// More was booked of an invoker than a controller's share, unforced.
    Overdrawn {
        /// Of which.
        invoker: usize,
        /// How much is booked.
        booked_mb: u64,
        /// Of how much.
        share_mb: u64,
    },
    /// An invoker was used that a controller had not heard of for too long.
    UsedOffline {
        /// Which.
        invoker: usize,
        /// For how many seconds.
        silent: u64,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Lost(id) => write!(f, "{id} was accepted and has no record"),
            Broken::RanTwice(id) => write!(f, "{id} ran twice"),
            Broken::Invented(id) => write!(f, "{id} has a result and never ran"),
            Broken::NeverBegun(id) => write!(f, "{id} is recorded as interrupted, and nobody had begun it"),
            Broken::Overdrawn { invoker, booked_mb, share_mb } => {
                write!(f, "{booked_mb} MB are booked of {share_mb} MB of invoker{invoker}, unforced")
            }
            Broken::UsedOffline { invoker, silent } => {
                write!(f, "invoker{invoker} was used after {silent} s of silence")
            }
        }
    }
}

/// What was seen in one life: a simulation in which nothing happens shows
/// nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Activations for which a client got a `202`.
    pub accepted: u64,
    /// Calls that a client waited for and got.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Runs that began.
    pub runs: u64,
    /// Records that say "interrupted".
    pub interrupted: u64,
    /// Runs that followed an interrupted one, since their action asks for it.
    pub repeated: u64,
    /// Runs elsewhere than where they were sent.
    pub rescued: u64,
    /// Claims that came too late.
    pub lost_claims: u64,
    /// Claims that were not answered in time.
    pub unsettled: u64,
    /// Bookings forced upon an invoker without room.
    pub forced: u64,
    /// Processes killed, stopped, cut off.
    pub faults: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.answered += other.answered;
        self.refused += other.refused;
        self.runs += other.runs;
        self.interrupted += other.interrupted;
        self.repeated += other.repeated;
        self.rescued += other.rescued;
        self.lost_claims += other.lost_claims;
        self.unsettled += other.unsettled;
        self.forced += other.forced;
        self.faults += other.faults;
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Ran,
    Interrupted,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub seen: Seen,
    accepted: BTreeSet<ActivationId>,
    /// Runs that began, by which run of it.
    runs: BTreeMap<(ActivationId, u32), u32>,
    /// Those that a client waited for: begun without a claim.
    waited_for: BTreeSet<ActivationId>,
    /// The store: the first record of each counts.
    records: BTreeMap<ActivationId, Record>,
    broken: Option<Broken>,
}

impl Ledger {
    pub fn breaks(&mut self, what: Broken) {
        self.broken.get_or_insert(what);
    }

    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    pub fn sent(&mut self, id: ActivationId, blocking: bool) {
        if blocking {
            self.waited_for.insert(id);
        }
    }

    pub fn accepted(&mut self, id: ActivationId) {
        self.seen.accepted += u64::from(self.accepted.insert(id));
    }

    pub fn began(&mut self, id: ActivationId, run: u32) {
        self.seen.runs += 1;
        self.seen.repeated += u64::from(run > 0);
        let count = self.runs.entry((id, run)).or_default();
        *count += 1;
        if *count > 1 {
            self.breaks(Broken::RanTwice(id));
        }
    }

    pub fn has_record(&self, id: ActivationId) -> bool {
        self.records.contains_key(&id)
    }

    pub fn store(&mut self, id: ActivationId, record: Record) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.records.entry(id) {
            entry.insert(record);
            self.seen.interrupted += u64::from(record == Record::Interrupted);
        }
    }

    /// All is over: what was accepted has its record, and records are true.
    pub fn close(&mut self, broker: &Broker) {
        let lost = self.accepted.iter().find(|id| !self.records.contains_key(*id)).copied();
        let ran = |id: ActivationId| self.runs.range((id, 0)..=(id, u32::MAX)).next().is_some();
        let untrue = self.records.iter().find(|(id, record)| **record == Record::Ran && !ran(**id));
        let claimed: BTreeSet<ActivationId> = broker
            .claims
            .iter()
            .filter(|(_, note, _)| matches!(note, Note::Claim { .. }))
            .map(|(id, ..)| *id)
            .collect();
        let begun = |id: &ActivationId| claimed.contains(id) || self.waited_for.contains(id);
        let in_vain = self
            .records
            .iter()
            .find(|(id, record)| **record == Record::Interrupted && self.accepted.contains(*id) && !begun(id));
        let broken = lost
            .map(Broken::Lost)
            .or(untrue.map(|(id, _)| Broken::Invented(*id)))
            .or(in_vain.map(|(id, _)| Broken::NeverBegun(*id)));
        if let Some(broken) = broken {
            self.breaks(broken);
        }
    }
}
