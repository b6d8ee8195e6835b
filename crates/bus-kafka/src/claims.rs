//! Who runs what.
//!
//! Before a run starts, its invoker writes a claim to a topic and reads it back.
//! All claims of one activation are in one partition, so everybody sees them in
//! one order, and the first one wins. Whoever was not first leaves the
//! activation alone until the winner has seen it through, or is dead.
//!
//! This is the index of what was read from that topic, and what follows from
//! it. It is the same everywhere up to how far each has read, and deciding
//! needs no more than that: a claim of one's own counts when it was read.

use std::collections::{HashMap, VecDeque};

use whisker_bus::{Incarnation, InvokerId};
use whisker_entity::{ActivationId, Millis};

/// One life of one invoker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claimant {
    /// Which invoker.
    pub invoker: InvokerId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// What is written about an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Somebody wants to begin a run of it.
    Claim {
        /// Which run: how many failed before.
        run: u32,
        /// Who.
        by: Claimant,
    },
    /// Its record is safe, or it is never to run.
    Over,
}

/// What a claim came to, once it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Won {
    /// It is its claimant's to run.
    Yes,
    /// Somebody else was first, or it is over.
    No,
}

/// What is known of a message whose activation is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whose message.
    pub activation: ActivationId,
    /// Which run it asks for: how many failed before.
    pub run: u32,
    /// Whether a client waits for it: the first that reads it runs it, with
    /// no claim.
    pub blocking: bool,
    /// Whether an earlier reader may have had it.
    pub doubtful: bool,
    /// When it was written.
    pub written: Millis,
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody had it.
    Run,
    /// Somebody began it, and is dead: see whether there is a record.
    Interrupted,
    /// Somebody has it who lives. Judge again when that changes.
    Wait,
    /// It was seen through.
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    run: u32,
    by: Option<Claimant>,
    over: bool,
    at: Millis,
}

/// How far clocks of machines may differ before it matters here.
const SKEW_MS: Millis = 60_000;

/// The claims that were read, the latest `kept` of them.
#[derive(Debug)]
pub struct Claims {
    entries: HashMap<ActivationId, Entry>,
    /// Oldest first.
    order: VecDeque<ActivationId>,
    kept: usize,
    /// Of messages written until then, claims may be forgotten.
    horizon: Option<Millis>,
}

impl Claims {
    /// No claims yet. At most so many are kept, the oldest are forgotten: what
    /// may have been claimed and is forgotten counts as begun.
    pub fn new(kept: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), kept: kept.max(1), horizon: None }
    }

    /// What was written before this time was not read.
    pub fn unknown_until(&mut self, time: Millis) {
        self.horizon = self.horizon.max(Some(time));
    }

    /// Takes in what was read, in the topic's order. Says of a claim what it
    /// came to.
    pub fn read(&mut self, activation: ActivationId, note: Note, at: Millis) -> Won {
        match (self.entries.get_mut(&activation), note) {
            (None, Note::Claim { run, by }) => {
                self.insert(activation, Entry { run, by: Some(by), over: false, at });
                Won::Yes
            }
            (None, Note::Over) => {
                self.insert(activation, Entry { run: 0, by: None, over: true, at });
                Won::No
            }
            (Some(entry), Note::Over) => {
                entry.over = true;
                Won::No
            }
            // A later run than the one that was claimed: that one failed, and
            // is followed by this.
            (Some(entry), Note::Claim { run, by }) if run > entry.run && !entry.over => {
                *entry = Entry { run, by: Some(by), ..*entry };
                Won::Yes
            }
            // Its own claim, written twice.
            (Some(entry), Note::Claim { run, by }) if run == entry.run && entry.by == Some(by) && !entry.over => {
                Won::Yes
            }
            (Some(_), Note::Claim { .. }) => Won::No,
        }
    }

    /// Judges a message. `alive` says whether a claimant lives.
    pub fn judge(&self, facts: Facts, alive: impl FnOnce(Claimant) -> bool) -> Verdict {
        let Facts { activation, run, blocking, doubtful, written } = facts;
        match self.entries.get(&activation) {
            // Claims that old may be forgotten, and who read a blocking one ran it.
            None if doubtful && (blocking || self.may_be_forgotten(written)) => Verdict::Interrupted,
            None => Verdict::Run,
            Some(entry) if entry.over || entry.run > run => Verdict::Over,
            Some(entry) if entry.run < run => Verdict::Run,
            Some(Entry { by: Some(by), .. }) if alive(*by) => Verdict::Wait,
            Some(_) => Verdict::Interrupted,
        }
    }

    fn may_be_forgotten(&self, written: Millis) -> bool {
        self.horizon.is_some_and(|horizon| written <= horizon.saturating_add(SKEW_MS))
    }

    /// Who claimed the latest run of an activation that is not over.
    pub fn holder(&self, activation: ActivationId) -> Option<Claimant> {
        self.entries.get(&activation).filter(|entry| !entry.over)?.by
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert(&mut self, activation: ActivationId, entry: Entry) {
        while self.order.len() >= self.kept {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(forgotten) = self.entries.remove(&oldest) {
                self.unknown_until(forgotten.at);
            }
        }
        self.entries.insert(activation, entry);
        self.order.push_back(activation);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u128) -> ActivationId {
        ActivationId::new(1, n)
    }

    fn claimant(invoker: u32) -> Claimant {
        Claimant { invoker: InvokerId(invoker), incarnation: Incarnation(u64::from(invoker) + 100) }
    }

    fn claim(run: u32, invoker: u32) -> Note {
        Note::Claim { run, by: claimant(invoker) }
    }

    fn facts(run: u32, doubtful: bool, blocking: bool) -> Facts {
        Facts { activation: id(1), run, blocking, doubtful, written: 1_000_000 }
    }

    #[test]
    fn the_first_claim_wins() {
        let mut claims = Claims::new(10);
        assert_eq!(claims.read(id(1), claim(0, 1), 1), Won::Yes);
        assert_eq!(claims.read(id(1), claim(0, 2), 2), Won::No);
        assert_eq!(claims.read(id(1), claim(0, 1), 3), Won::Yes, "its own, written twice");
        assert_eq!(claims.holder(id(1)), Some(claimant(1)));
    }

    #[test]
    fn another_life_of_the_same_invoker_is_somebody_else() {
        let mut claims = Claims::new(10);
        let other = Claimant { incarnation: Incarnation(7), ..claimant(1) };
        claims.read(id(1), claim(0, 1), 1);
        assert_eq!(claims.read(id(1), Note::Claim { run: 0, by: other }, 2), Won::No);
    }

    #[test]
    fn a_run_after_a_failed_one_is_claimed_anew() {
        let mut claims = Claims::new(10);
        claims.read(id(1), claim(0, 1), 1);
        assert_eq!(claims.judge(facts(1, false, false), |_| true), Verdict::Run);
        assert_eq!(claims.read(id(1), claim(1, 2), 2), Won::Yes);
        assert_eq!(claims.read(id(1), claim(0, 1), 3), Won::No, "late");
        assert_eq!(claims.judge(facts(0, true, false), |_| true), Verdict::Over);
        claims.read(id(1), Note::Over, 4);
        assert_eq!(claims.read(id(1), claim(2, 3), 5), Won::No);
    }

    #[test]
    fn a_message_is_judged_by_who_has_it() {
        let mut claims = Claims::new(10);
        for (doubtful, blocking, expected) in [
            (false, false, Verdict::Run),
            (false, true, Verdict::Run),
            (true, false, Verdict::Run),
            (true, true, Verdict::Interrupted),
        ] {
            assert_eq!(claims.judge(facts(0, doubtful, blocking), |_| false), expected, "{doubtful} {blocking}");
        }
        claims.read(id(1), claim(0, 1), 1);
        assert_eq!(claims.judge(facts(0, false, false), |by| by == claimant(1)), Verdict::Wait);
        assert_eq!(claims.judge(facts(0, true, true), |_| false), Verdict::Interrupted);
        claims.read(id(1), Note::Over, 2);
        assert_eq!(claims.judge(facts(0, true, false), |_| true), Verdict::Over);
    }

    #[test]
    fn what_may_have_been_forgotten_counts_as_begun_if_somebody_may_have_had_it() {
        let mut claims = Claims::new(2);
        for n in 1..=3 {
            claims.read(id(n), claim(0, 1), 1_000_000 + n as u64);
        }
        assert_eq!(claims.len(), 2);
        assert_eq!(claims.judge(facts(0, true, false), |_| false), Verdict::Interrupted);
        assert_eq!(claims.judge(facts(0, false, false), |_| false), Verdict::Run);
        let later = Facts { written: 2_000_000, ..facts(0, true, false) };
        assert_eq!(claims.judge(later, |_| false), Verdict::Run);
    }

    proptest! {
        /// Everybody who reads the same notes agrees on one winner a run, and
        /// later runs do not bring earlier ones back.
        #[test]
        fn one_wins_each_run(notes in prop::collection::vec((0..3u128, 0..3u32, 0..3u32, any::<bool>()), 0..60)) {
            let mut claims = Claims::new(1000);
            let mut winners: HashMap<(u128, u32), u32> = HashMap::new();
            let mut over = std::collections::HashSet::new();
            for (n, run, invoker, ends) in notes {
                if ends && run == 2 {
                    claims.read(id(n), Note::Over, 0);
                    over.insert(n);
                } else if claims.read(id(n), claim(run, invoker), 0) == Won::Yes {
                    prop_assert!(!over.contains(&n));
                    let winner = *winners.entry((n, run)).or_insert(invoker);
                    prop_assert_eq!(winner, invoker);
                    prop_assert!(!winners.keys().any(|(m, later)| *m == n && *later > run));
                }
            }
        }
    }
}
