//! What an invoker has read and not seen through: what is around the decisions
//! of `whisker-bus-kafka`, told in short.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use whisker_bus::{Incarnation, InvokerId, InvokerInstance, InvokerPing};
use whisker_bus_kafka::{
    claims::{Claimant, Claims, Facts, Note, Verdict, Won},
    members::Members,
    offsets::Offsets,
    reads::Reads,
};
use whisker_entity::{ActivationId, ByteSize};

use crate::{
    Sabotage,
    agenda::Time,
    broker::{Message, Ping},
};

/// After so long without a ping an invoker is offline to the others.
const OFFLINE_AFTER: Duration = Duration::from_secs(10);
/// More than there are in one life: what is forgotten is another story.
const CLAIMS_KEPT: usize = 100_000;

/// A partition, as long as it is ours.
#[derive(Debug)]
pub(crate) struct Part {
    /// Tells apart the times that we had it.
    term: u64,
    pub offsets: Offsets,
    pub reads: Reads,
    /// Below this something may have been given out, here or before.
    pub given: i64,
    in_stead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued { after_start: bool },
    Given,
    Waiting,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    partition: usize,
    term: u64,
    offset: i64,
}

#[derive(Debug)]
struct Held {
    message: Message,
    doubtful: bool,
    in_stead: bool,
    places: Vec<Place>,
    state: State,
}

/// What is asked of whoever wants to begin a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Go,
    Claim,
    Leave,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    pub me: Claimant,
    claims: Claims,
    members: Members,
    pub parts: BTreeMap<usize, Part>,
    held: BTreeMap<ActivationId, Held>,
    queue: VecDeque<ActivationId>,
    waiting: BTreeSet<ActivationId>,
    /// Runs that came before the failed one they follow was put away.
    aside: Vec<Held>,
    recent: BTreeSet<ActivationId>,
    terms: u64,
    sabotage: Sabotage,
}

fn time(now: Time) -> Duration {
    Duration::from_millis(now)
}

fn claimant(invoker: usize, life: u64) -> Claimant {
    Claimant { invoker: InvokerId(invoker as u32), incarnation: Incarnation(life) }
}

impl Inbox {
    pub fn new(invoker: usize, life: u64, invokers: usize, now: Time, sabotage: Sabotage) -> Self {
        let mut members = Members::new(OFFLINE_AFTER, time(now));
        // As their topics tell.
        (0..invokers).for_each(|other| members.exists(InvokerId(other as u32), time(now)));
        Self {
            me: claimant(invoker, life),
            claims: Claims::new(CLAIMS_KEPT),
            members,
            parts: BTreeMap::new(),
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: BTreeSet::new(),
            aside: Vec::new(),
            recent: BTreeSet::new(),
            terms: 0,
            sabotage,
        }
    }

    pub fn heard(&mut self, ping: Ping, now: Time) {
        let who = claimant(ping.who.process, ping.who.life);
        let instance = InvokerInstance::new(who.invoker, ByteSize::bytes(0));
        let ping = InvokerPing { instance, enabled: ping.enabled, incarnation: Some(who.incarnation) };
        self.members.heard(&ping, time(now));
    }

    /// The invokers whose partitions fall to this one.
    pub fn charges(&self, now: Time) -> Vec<usize> {
        self.members.charges(self.me.invoker, time(now)).into_iter().map(|id| id.0 as usize).collect()
    }

    pub fn assigned(&mut self, partition: usize, committed: i64, bound: i64, in_stead: bool) {
        self.terms += 1;
        let part = Part {
            term: self.terms,
            offsets: Offsets::starting_at(committed),
            reads: Reads::after(bound),
            // What readers before may have had stays in doubt, though nothing
            // of it is given out here.
            given: bound,
            in_stead,
        };
        self.parts.insert(partition, part);
    }

    /// It is another's. What was not given out goes with it.
    pub fn revoked(&mut self, partition: usize) {
        let Some(part) = self.parts.remove(&partition) else { return };
        let gone = |place: &Place| place.partition == partition && place.term == part.term;
        self.held.retain(|_, held| {
            let places = held.places.len();
            held.places.retain(|place| !gone(place));
            held.in_stead |= held.places.len() < places;
            held.state == State::Given || !held.places.is_empty()
        });
        self.aside.retain(|held| !held.places.iter().any(gone));
        self.queue.retain(|id| self.held.contains_key(id));
        self.waiting.retain(|id| self.held.contains_key(id));
    }

    /// The next message of a partition was read.
    pub fn arrived(&mut self, partition: usize, message: Message, now: Time) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let offset = part.offsets.next();
        let doubtful = part.reads.is_doubtful(offset) && self.sabotage != Sabotage::DoubtIgnored;
        part.offsets.read(offset);
        let place = Place { partition, term: part.term, offset };
        let in_stead = part.in_stead;
        match self.held.get_mut(&message.id) {
            Some(held) if message.run <= held.message.run => held.places.push(place),
            earlier => {
                let follows = earlier.is_some();
                let held = Held { message, doubtful, in_stead, places: vec![place], state: State::Waiting };
                if follows { self.aside.push(held) } else { self.admit(held, now) }
            }
        }
    }

    fn admit(&mut self, mut held: Held, now: Time) {
        let id = held.message.id;
        held.state = match self.judge(&held, now) {
            Verdict::Run => State::Queued { after_start: false },
            Verdict::Interrupted => State::Queued { after_start: true },
            Verdict::Wait => State::Waiting,
            Verdict::Over => return held.places.iter().for_each(|place| self.pass(*place)),
        };
        if held.state == State::Waiting {
            self.waiting.insert(id);
        } else {
            self.queue.push_back(id);
        }
        self.held.insert(id, held);
    }

    fn judge(&self, held: &Held, now: Time) -> Verdict {
        let Message { id: activation, run, blocking, written, .. } = held.message;
        if self.recent.contains(&activation) {
            return Verdict::Over;
        }
        if held.in_stead && self.sabotage == Sabotage::InterruptedUnasked {
            return Verdict::Interrupted;
        }
        let facts = Facts { activation, run, blocking, doubtful: held.doubtful, written };
        self.claims.judge(facts, |by| self.members.is_alive(by, time(now)))
    }

    /// A claim was read. Says what it came to, if it is ours.
    pub fn noted(&mut self, id: ActivationId, note: Note, at: Time, now: Time) -> Option<(u32, Won)> {
        let won = self.claims.read(id, note, at);
        if self.waiting.contains(&id) {
            self.look_again(id, now);
        }
        match note {
            Note::Claim { run, by } if by == self.me => Some((run, won)),
            Note::Claim { .. } | Note::Over => None,
        }
    }

    /// Others may have died: judges again all that waits for them.
    pub fn look_around(&mut self, now: Time) {
        let waiting: Vec<ActivationId> = self.waiting.iter().copied().collect();
        waiting.into_iter().for_each(|id| self.look_again(id, now));
        for held in std::mem::take(&mut self.aside) {
            if self.held.contains_key(&held.message.id) { self.aside.push(held) } else { self.admit(held, now) }
        }
    }

    fn look_again(&mut self, id: ActivationId, now: Time) {
        if self.held.get(&id).is_some_and(|held| self.judge(held, now) != Verdict::Wait) {
            self.waiting.remove(&id);
            if let Some(held) = self.held.remove(&id) {
                self.admit(held, now);
            }
        }
    }

    /// The next message, and whether somebody may have begun it.
    pub fn next(&mut self) -> Option<(Message, bool)> {
        while let Some(id) = self.queue.pop_front() {
            let Some(held) = self.held.get_mut(&id) else { continue };
            let State::Queued { after_start } = held.state else { continue };
            held.state = State::Given;
            for place in &held.places {
                if let Some(part) = self.parts.get_mut(&place.partition).filter(|part| part.term == place.term) {
                    part.given = part.given.max(place.offset + 1);
                }
            }
            return Some((held.message, after_start));
        }
        None
    }

    pub fn starting(&self, id: ActivationId) -> Start {
        match self.held.get(&id) {
            None => Start::Leave,
            Some(held) if held.message.blocking && !held.in_stead && held.message.run == 0 => Start::Go,
            Some(_) if self.sabotage == Sabotage::ClaimsIgnored => Start::Go,
            Some(_) => Start::Claim,
        }
    }

    /// Somebody else was quicker.
    pub fn lost(&mut self, id: ActivationId, now: Time) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Waiting;
            self.waiting.insert(id);
            self.look_again(id, now);
        }
    }

    /// Its record is safe. Says whether others should know.
    pub fn done(&mut self, id: ActivationId) -> bool {
        self.put_away(id);
        self.recent.insert(id);
        self.claims.holder(id).is_some()
    }

    pub fn put_away(&mut self, id: ActivationId) {
        self.waiting.remove(&id);
        if let Some(held) = self.held.remove(&id) {
            held.places.into_iter().for_each(|place| self.pass(place));
        }
    }

    fn pass(&mut self, place: Place) {
        if let Some(part) = self.parts.get_mut(&place.partition).filter(|part| part.term == place.term) {
            part.offsets.done(place.offset);
        }
    }
}
