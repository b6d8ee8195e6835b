//! The controllers of a cluster, as one of them sees them: how many share the
//! invokers and the limits, and whether somebody has its name.
//!
//! A value: pings and time go in, what has changed comes out.

use std::{collections::HashMap, time::Duration};

use whisker_bus::{ControllerId, ControllerPing, Incarnation};

/// After how long without a ping a controller no longer counts.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// How long a namesake must have been heard to be believed in: what a former
/// life said last may still be under way when the next one begins.
const BELIEVED_AFTER: Duration = Duration::from_secs(2);
/// How long a controller that has just begun gives way to one of its name.
const FRESH: Duration = Duration::from_secs(15);
/// Controllers that are remembered. More are not counted: nobody has so many.
const MAX_PEERS: usize = 1_000;

/// Who else there is.
#[derive(Debug)]
pub(crate) struct Peers {
    me: ControllerId,
    life: Incarnation,
    others: HashMap<ControllerId, Duration>,
    namesake: Option<Namesake>,
}

#[derive(Debug)]
struct Namesake {
    life: Incarnation,
    since: Duration,
    heard: Duration,
    told: bool,
}

/// What a ping was found to mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing new.
    Nothing,
    /// There are so many controllers now, this one among them.
    Controllers(u32),
    /// Another process has this controller's name. Told once of each.
    Namesake {
        /// Whether this one came later, as far as one can tell.
        newcomer: bool,
    },
}

impl Peers {
    /// Alone, until others are heard.
    pub fn new(me: ControllerId, life: Incarnation) -> Self {
        Self { me, life, others: HashMap::new(), namesake: None }
    }

    /// How many controllers there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// All of them.
    pub fn all(&self) -> Vec<ControllerId> {
        self.others.keys().chain([&self.me]).cloned().collect()
    }

    /// Hears a ping, perhaps its own.
    pub fn hear(&mut self, now: Duration, ping: &ControllerPing) -> Found {
        if ping.controller == self.me {
            return if ping.incarnation == self.life { Found::Nothing } else { self.doubt(now, ping) };
        }
        let before = self.count();
        if !ping.enabled {
            self.others.remove(&ping.controller);
        } else if self.others.len() < MAX_PEERS || self.others.contains_key(&ping.controller) {
            self.others.insert(ping.controller.clone(), now);
        }
        self.changed(before)
    }

    fn doubt(&mut self, now: Duration, ping: &ControllerPing) -> Found {
        let known = self.namesake.take().filter(|known| known.life == ping.incarnation && ping.enabled);
        if !ping.enabled {
            return Found::Nothing;
        }
        let known = known.unwrap_or(Namesake { life: ping.incarnation, since: now, heard: now, told: false });
        let tell = !known.told && now.saturating_sub(known.since) >= BELIEVED_AFTER;
        self.namesake = Some(Namesake { heard: now, told: known.told || tell, ..known });
        // Lives are numbered by when they began.
        if tell { Found::Namesake { newcomer: now < FRESH && self.life > ping.incarnation } } else { Found::Nothing }
    }

    /// Time went by.
    pub fn tick(&mut self, now: Duration) -> Found {
        let before = self.count();
        self.others.retain(|_, heard| now.saturating_sub(*heard) < GONE_AFTER);
        self.namesake = self.namesake.take().filter(|namesake| now.saturating_sub(namesake.heard) < GONE_AFTER);
        self.changed(before)
    }

    fn changed(&self, before: u32) -> Found {
        let count = self.count();
        if count == before { Found::Nothing } else { Found::Controllers(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ping(name: &str, life: u64) -> ControllerPing {
        ControllerPing {
            controller: ControllerId(name.into()),
            enabled: true,
            incarnation: Incarnation(life),
            heard: None,
        }
    }

    fn peers() -> Peers {
        Peers::new(ControllerId("a".into()), Incarnation(1))
    }

    #[test]
    fn those_that_ping_count_until_they_are_silent_or_say_goodbye() {
        let mut peers = peers();
        assert_eq!(peers.hear(at(0), &ping("a", 1)), Found::Nothing, "it hears itself");
        assert_eq!(peers.hear(at(0), &ping("b", 2)), Found::Controllers(2));
        assert_eq!(peers.hear(at(1), &ping("c", 3)), Found::Controllers(3));
        assert_eq!(peers.hear(at(5), &ping("c", 4)), Found::Nothing, "another life of the same");
        assert_eq!(peers.tick(at(9)), Found::Nothing);
        assert_eq!(peers.tick(at(10)), Found::Controllers(2), "b is silent");
        assert_eq!(peers.hear(at(11), &ControllerPing { enabled: false, ..ping("c", 4) }), Found::Controllers(1));
    }

    #[test]
    fn the_last_words_of_a_former_life_are_no_namesake() {
        let mut peers = peers();
        assert_eq!(peers.hear(at(0), &ping("a", 9)), Found::Nothing);
        assert_eq!(peers.hear(at(1), &ping("a", 9)), Found::Nothing);
        assert_eq!(peers.tick(at(20)), Found::Nothing);
        assert_eq!(peers.hear(at(20), &ping("a", 9)), Found::Nothing, "long forgotten");
    }

    #[test]
    fn whoever_goes_on_under_the_same_name_is_a_namesake_and_told_of_once() {
        let mut peers = peers();
        let mut told = |life| {
            let found = (0..6).map(|second| peers.hear(at(second), &ping("a", life)));
            found.filter(|found| *found != Found::Nothing).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [Found::Namesake { newcomer: true }]);
        assert_eq!(told(9), [Found::Namesake { newcomer: false }], "that one began later");

        let mut settled = self::peers();
        let found: Vec<Found> = (100..106).map(|second| settled.hear(at(second), &ping("a", 0))).collect();
        assert!(found.contains(&Found::Namesake { newcomer: false }));
    }

    #[test]
    fn nobody_fills_the_memory_with_names() {
        let mut peers = peers();
        for n in 0..2_000 {
            peers.hear(at(0), &ping(&n.to_string(), n));
        }
        assert_eq!(peers.count(), 1_001);
    }
}
