//! Which invokers live, and who looks after the messages of one that does not.
//!
//! Every invoker hears every ping. One that was silent for too long is offline,
//! and what is left in its topic falls to the next one that lives, in the ring
//! of their numbers. Two may disagree for a while about who that is: then both
//! read, and Kafka gives each partition to one of them. Time comes from above.
//!
//! An invoker hears itself as it hears the others, so that it knows when it is
//! deaf: the topic has no leader, say. For a while silence says nothing of the
//! others then, who would else all look after each other and call each other's
//! runs interrupted. Not for ever: one that stays deaf would leave the dead alone
//! who fall to it.

use std::{collections::BTreeMap, time::Duration};

use whisker_bus::{Incarnation, InvokerId, InvokerPing};

use crate::claims::Claimant;

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    enabled: bool,
    incarnation: Option<Incarnation>,
}

/// The invokers that were heard of.
#[derive(Debug)]
pub struct Members {
    seen: BTreeMap<InvokerId, Seen>,
    patience: Duration,
    since: Duration,
    /// When anybody was heard last.
    heard: Duration,
}

impl Members {
    /// Nobody was heard of, `now`. Whoever is silent for longer than
    /// `patience` is offline.
    pub fn new(patience: Duration, now: Duration) -> Self {
        Self { seen: BTreeMap::new(), patience, since: now, heard: now }
    }

    /// A ping came.
    pub fn heard(&mut self, ping: &InvokerPing, now: Duration) {
        self.hear_again(now);
        let seen = Seen { at: now, enabled: ping.enabled, incarnation: ping.incarnation };
        self.seen.insert(ping.instance.id, seen);
    }

    /// There is a topic of this one, whether it lives or not.
    pub fn exists(&mut self, invoker: InvokerId, now: Duration) {
        self.seen.entry(invoker).or_insert(Seen { at: now, enabled: true, incarnation: None });
    }

    /// Whether messages to this one are read by itself.
    pub fn is_online(&self, invoker: InvokerId, now: Duration) -> bool {
        self.seen.get(&invoker).is_some_and(|seen| seen.enabled && self.is_recent(seen.at, now))
    }

    /// Whether one life of an invoker may go on. One that stops takes no more
    /// work, but ends what it has. Of those not heard of yet nobody is dead
    /// until they had their time to ping.
    pub fn is_alive(&self, claimant: Claimant, now: Duration) -> bool {
        match self.seen.get(&claimant.invoker) {
            Some(Seen { at, incarnation: Some(incarnation), .. }) => {
                *incarnation == claimant.incarnation && self.is_recent(*at, now)
            }
            Some(Seen { at, incarnation: None, .. }) => self.is_recent(*at, now),
            None => self.is_recent(self.since, now),
        }
    }

    /// The ones whose messages fall to `me`.
    pub fn charges(&self, me: InvokerId, now: Duration) -> Vec<InvokerId> {
        let offline = self.seen.keys().copied().filter(|id| *id != me && !self.is_online(*id, now));
        offline.filter(|id| self.heir(*id, me, now) == me).collect()
    }

    /// The next one that is online after an invoker. `me` is, to itself.
    fn heir(&self, of: InvokerId, me: InvokerId, now: Duration) -> InvokerId {
        let online = |id: &InvokerId| *id == me || self.is_online(*id, now);
        let after = self.seen.range(of..).map(|(id, _)| *id).filter(|id| *id > of).chain((me > of).then_some(me));
        let first = after.filter(online).min();
        let before = self.seen.range(..of).map(|(id, _)| *id).chain((me < of).then_some(me));
        first.or_else(|| before.filter(online).min()).unwrap_or(me)
    }

    fn is_recent(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(self.deaf(now)).saturating_sub(at) < self.patience
    }

    /// For how long silence has said nothing: since nobody at all was heard for
    /// half of the patience, until three times of it.
    fn deaf(&self, now: Duration) -> Duration {
        let begins = self.patience / 2;
        now.saturating_sub(self.heard + begins).min(self.patience * 3 - begins)
    }

    /// Leaves out the time in which silence said nothing.
    fn hear_again(&mut self, now: Duration) {
        let deaf = self.deaf(now);
        if deaf > Duration::ZERO {
            self.since += deaf;
            for seen in self.seen.values_mut() {
                // What was heard since is not heard in the future.
                seen.at = now.min(seen.at + deaf);
            }
        }
        self.heard = self.heard.max(now);
    }
}

#[cfg(test)]
mod tests {
    use whisker_bus::InvokerInstance;
    use whisker_entity::ByteSize;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn ping(id: u32, incarnation: u64, enabled: bool) -> InvokerPing {
        let instance = InvokerInstance::new(InvokerId(id), ByteSize::bytes(1));
        InvokerPing { instance, enabled, incarnation: Some(Incarnation(incarnation)) }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn charges(members: &Members, me: u32, now: u64) -> Vec<u32> {
        members.charges(InvokerId(me), at(now)).into_iter().map(|id| id.0).collect()
    }

    /// Number 1 hears itself in each second until then, if nobody else.
    fn hears_itself(members: &mut Members, until: u64) {
        (0..=until).for_each(|second| members.heard(&ping(1, 1, true), at(second)));
    }

    #[test]
    fn the_next_in_the_ring_looks_after_the_silent() {
        let mut members = Members::new(PATIENCE, at(0));
        for id in 0..4 {
            members.heard(&ping(id, 1, true), at(0));
        }
        for second in [4, 9] {
            for id in [0, 2] {
                members.heard(&ping(id, 1, true), at(second));
            }
        }
        assert_eq!(charges(&members, 0, 9), [0u32; 0]);
        assert_eq!((charges(&members, 0, 10), charges(&members, 2, 10)), (vec![3], vec![1]));
        assert_eq!(charges(&members, 7, 10), [3], "one that nobody heard of yet is online to itself");
        members.heard(&ping(1, 2, true), at(11));
        assert_eq!(charges(&members, 2, 11), [0u32; 0]);
    }

    #[test]
    fn one_that_says_goodbye_is_offline_at_once_and_alive_until_it_is_silent() {
        let mut members = Members::new(PATIENCE, at(0));
        members.heard(&ping(1, 5, false), at(1));
        assert_eq!(charges(&members, 0, 1), [1]);
        let claimant = Claimant { invoker: InvokerId(1), incarnation: Incarnation(5) };
        for second in 1..=11 {
            members.heard(&ping(2, 1, true), at(second));
        }
        assert!(members.is_alive(claimant, at(10)) && !members.is_alive(claimant, at(11)));
    }

    #[test]
    fn a_new_life_ends_the_one_before() {
        let mut members = Members::new(PATIENCE, at(0));
        let claimant = |incarnation| Claimant { invoker: InvokerId(2), incarnation: Incarnation(incarnation) };
        hears_itself(&mut members, 10);
        assert!(members.is_alive(claimant(1), at(9)), "nobody had the time to ping");
        assert!(!members.is_alive(claimant(1), at(10)));
        members.heard(&ping(2, 2, true), at(11));
        assert!(members.is_alive(claimant(2), at(11)) && !members.is_alive(claimant(1), at(11)));
    }

    #[test]
    fn one_that_never_pinged_is_offline_after_a_while() {
        let mut members = Members::new(PATIENCE, at(0));
        members.exists(InvokerId(9), at(0));
        hears_itself(&mut members, 10);
        assert_eq!(charges(&members, 1, 9), [0u32; 0]);
        assert_eq!(charges(&members, 1, 10), [9]);
    }

    #[test]
    fn silence_says_nothing_to_one_that_does_not_hear_itself() {
        let mut members = Members::new(PATIENCE, at(0));
        for id in [1, 2, 3] {
            members.heard(&ping(id, 1, true), at(0));
        }
        let two = Claimant { invoker: InvokerId(2), incarnation: Incarnation(1) };
        assert!(charges(&members, 1, 30).is_empty() && members.is_alive(two, at(30)));
        for id in [1, 3] {
            members.heard(&ping(id, 1, true), at(30));
        }
        // The time until it was deaf counts, and the time since then.
        assert!(members.is_alive(two, at(34)) && !members.is_alive(two, at(35)));
        assert_eq!((charges(&members, 3, 35), charges(&members, 1, 35)), (vec![2], vec![]));
    }

    #[test]
    fn one_that_stays_deaf_looks_after_everybody() {
        let mut members = Members::new(PATIENCE, at(0));
        members.heard(&ping(1, 1, true), at(0));
        members.heard(&ping(2, 1, true), at(0));
        assert_eq!((charges(&members, 1, 34), charges(&members, 1, 35)), (vec![], vec![2]));
    }
}
