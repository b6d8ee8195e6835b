//! What an invoker has read and not seen through: a value, without Kafka.
//!
//! Readers put messages in, as their partitions give them; the follower of
//! claims and pings tells what others do; the invoker takes messages out, says
//! which it begins and which are done. In between each message is judged by
//! [`Claims::judge`]: it waits here as long as somebody else has it.
//!
//! ```text
//!   arrived ──▶ queued ──▶ given ──▶ done
//!      │          ▲          │
//!      ├──▶ waiting ◀────────┘ somebody else was quicker, or nobody says who was
//!      ├──▶ aside, until it is due
//!      └──▶ done, if somebody saw it through
//! ```
//!
//! A message that comes twice while it is here is one message in two places:
//! both are done when it is.
//!
//! It reads no clock, writes nothing and waits for nobody, so that a simulation
//! can drive the same one that runs.

mod aside;
mod message;
mod progress;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use whisker_bus::{Attempt, InvokerId, InvokerPing, Redelivered};
use whisker_entity::{ActivationId, Millis};

use self::{aside::Aside, progress::Partitions};
pub use self::{
    message::{Given, Incoming, Next, Start},
    progress::{Part, Place},
};
use crate::{
    claims::{Claimant, Claims, Note, Verdict, Won},
    members::Members,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued(Redelivered),
    Given,
    Waiting,
}

struct Held<M> {
    incoming: Incoming<M>,
    places: Vec<Place>,
    state: State,
    /// A claim of it may be on its way, and nobody here waits for that.
    unsettled: bool,
}

/// What comes of something that was read from the topic of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Whether there may be something to receive.
    pub rings: bool,
    /// Of a claim of our own: of which run, and what it came to.
    pub won: Option<(u32, Won)>,
}

/// Bounds of what is held; at any of them no more is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages that are not done, beside those aside.
    pub held: usize,
    /// Bytes of messages that wait for the invoker; the same again aside.
    pub queued_bytes: usize,
    /// Messages that are not due.
    pub aside: usize,
}

/// What there may be room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// For what is to run at once.
    Queued,
    /// The same of topics of somebody's own: they get half of it.
    Apart,
    /// For what is to run later.
    Aside,
}

/// See the [module](self).
pub struct Inbox<M> {
    me: Claimant,
    bounds: Bounds,
    claims: Claims,
    members: Members,
    parts: Partitions,
    held: HashMap<ActivationId, Held<M>>,
    queue: VecDeque<ActivationId>,
    queued_bytes: usize,
    /// Held ones that came by topics of somebody's own.
    apart: usize,
    /// In an order that is the same for a seed.
    waiting: BTreeSet<ActivationId>,
    aside: Aside<M>,
    /// Done here lately: what comes again is passed over, claimed or not.
    recent: HashSet<ActivationId>,
    recent_order: VecDeque<ActivationId>,
    /// A later process with this one's number has pinged.
    succeeded: bool,
    closed: bool,
}

/// So many are remembered that were done here.
const RECENT: usize = 1 << 16;
/// Somebody is about to make room for its next run: until it has.
const MOMENT: Duration = Duration::from_millis(20);

impl<M: Clone> Inbox<M> {
    /// An empty one, of this life of an invoker.
    pub fn new(me: Claimant, bounds: Bounds, claims: Claims, members: Members) -> Self {
        Self {
            me,
            bounds,
            claims,
            members,
            parts: Partitions::default(),
            held: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            apart: 0,
            waiting: BTreeSet::new(),
            aside: Aside::new(),
            recent: HashSet::new(),
            recent_order: VecDeque::new(),
            succeeded: false,
            closed: false,
        }
    }

    /// A partition is a reader's from this offset on; below `bound` those before
    /// it may have given out messages. That stays so, also if this one gives
    /// out nothing before it leaves: what is under way elsewhere is in doubt.
    pub fn assigned(&mut self, part: Part, from: i64, bound: i64) {
        self.parts.assigned(part, from, bound);
    }

    /// A partition is a reader's no more. What was not given out is another's.
    pub fn revoked(&mut self, part: &Part) {
        self.parts.revoked(part);
        self.aside.revoked(part);
        let (mut forgotten, mut bytes) = (HashSet::new(), 0);
        self.held.retain(|id, held| {
            let places = held.places.len();
            held.places.retain(|place| place.part != *part);
            // Others may read it now.
            held.incoming.in_stead |= held.places.len() < places;
            let keep = held.state == State::Given || held.unsettled || !held.places.is_empty();
            if !keep {
                forgotten.insert(*id);
                bytes += if matches!(held.state, State::Queued(_)) { held.incoming.bytes } else { 0 };
            }
            keep
        });
        self.queue.retain(|id| !forgotten.contains(id));
        self.waiting.retain(|id| !forgotten.contains(id));
        self.queued_bytes -= bytes;
        self.apart = self.held.values().filter(|held| held.incoming.apart).count();
    }

    /// A message that nobody can read: it is passed over.
    pub fn unreadable(&mut self, place: &Place) {
        if self.parts.read(place) {
            self.parts.pass(place);
        }
    }

    /// A message was read. Says whether there may be something to receive.
    pub fn arrived(&mut self, place: Place, incoming: Incoming<M>, wall: Millis, now: Duration) -> bool {
        if !self.parts.read(&place) {
            return false;
        }
        let waits = incoming.waits(wall);
        if waits > Duration::ZERO {
            self.aside.put(now + waits, incoming, place);
            return true;
        }
        self.place(place, incoming, now)
    }

    fn place(&mut self, place: Place, incoming: Incoming<M>, now: Duration) -> bool {
        let id = incoming.activation;
        match self.held.get_mut(&id) {
            Some(held) if incoming.run() <= held.incoming.run() => {
                held.places.push(place);
                false
            }
            // The run before it is not put away yet.
            Some(_) => {
                self.aside.put(now + MOMENT, incoming, place);
                true
            }
            None => self.admit(Held { incoming, places: vec![place], state: State::Waiting, unsettled: false }, now),
        }
    }

    fn admit(&mut self, mut held: Held<M>, now: Duration) -> bool {
        let id = held.incoming.activation;
        held.state = match self.judge(&held, now) {
            Verdict::Run => State::Queued(Redelivered::No),
            Verdict::Interrupted => State::Queued(Redelivered::AfterStart),
            Verdict::Wait => State::Waiting,
            Verdict::Over => {
                held.places.iter().for_each(|place| self.parts.pass(place));
                return false;
            }
        };
        let waits = held.state == State::Waiting;
        if waits {
            self.waiting.insert(id);
        } else {
            self.queue.push_back(id);
            self.queued_bytes += held.incoming.bytes;
        }
        self.apart += usize::from(held.incoming.apart);
        self.held.insert(id, held);
        !waits
    }

    fn judge(&self, held: &Held<M>, now: Duration) -> Verdict {
        let id = held.incoming.activation;
        if self.recent.contains(&id) {
            return Verdict::Over;
        }
        // A claim that came late, and won: everybody else leaves it to us.
        if held.unsettled && self.claims.holder(id) == Some(self.me) {
            return Verdict::Run;
        }
        self.claims.judge(held.incoming.facts(), |by| self.members.is_alive(by, now))
    }

    /// Something was read from the topic of claims.
    pub fn noted(&mut self, activation: ActivationId, note: Note, at: Millis, now: Duration) -> Noted {
        let won = self.claims.read(activation, note, at);
        let won = match note {
            Note::Claim { run, by } if by == self.me => Some((run, won)),
            Note::Claim { .. } | Note::Over => None,
        };
        if let Some((_, Won::No)) = won
            && let Some(held) = self.held.get_mut(&activation)
        {
            held.unsettled = false;
        }
        Noted { rings: self.waiting.contains(&activation) && self.look_again(activation, now), won }
    }

    /// Claims that were written before this time are not read.
    pub fn unknown_until(&mut self, time: Millis) {
        self.claims.unknown_until(time);
    }

    /// There is a topic of this invoker, whether it lives or not.
    pub fn exists(&mut self, invoker: InvokerId, now: Duration) {
        self.members.exists(invoker, now);
    }

    /// An invoker pinged.
    pub fn heard(&mut self, ping: &InvokerPing, now: Duration) {
        // Lives are numbered by when they began.
        self.succeeded |=
            ping.instance.id == self.me.invoker && ping.incarnation.is_some_and(|life| life > self.me.incarnation);
        self.members.heard(ping, now);
    }

    /// Whether a later process with this one's number was heard.
    pub fn has_successor(&self) -> bool {
        self.succeeded
    }

    /// Judges again all that waits for others. Says whether there may be
    /// something to receive.
    pub fn look_around(&mut self, now: Duration) -> bool {
        let waiting: Vec<ActivationId> = self.waiting.iter().copied().collect();
        // Each of them, not only until one is found.
        waiting.into_iter().filter(|id| self.look_again(*id, now)).count() > 0
    }

    fn look_again(&mut self, id: ActivationId, now: Duration) -> bool {
        let Some(held) = self.held.get(&id) else { return false };
        if self.judge(held, now) == Verdict::Wait {
            return false;
        }
        self.waiting.remove(&id);
        match self.held.remove(&id) {
            Some(held) => {
                self.apart -= usize::from(held.incoming.apart);
                self.admit(held, now)
            }
            None => false,
        }
    }

    /// The next message to give out, oldest first.
    pub fn next(&mut self, now: Duration) -> Next<M> {
        if self.closed {
            return Next::Closed;
        }
        while let Some((incoming, place)) = self.aside.take(now) {
            self.place(place, incoming, now);
        }
        while let Some(id) = self.queue.pop_front() {
            let Some(held) = self.held.get_mut(&id) else { continue };
            let State::Queued(redelivered) = held.state else { continue };
            held.state = State::Given;
            self.queued_bytes -= held.incoming.bytes;
            held.places.iter().for_each(|place| self.parts.give(place));
            let Held { incoming, places, .. } = held;
            return Next::Message(Given {
                message: incoming.message.clone(),
                redelivered,
                earlier: incoming.earlier.clone(),
                topic: places.first().map_or_else(|| "".into(), |place| Arc::clone(&place.part.topic)),
                written: incoming.written,
            });
        }
        self.aside.next_due().map_or(Next::Nothing, Next::Later)
    }

    /// A run is to begin.
    pub fn starting(&self, id: ActivationId) -> Start {
        match self.held.get(&id).map(|held| &held.incoming) {
            None => Start::Leave,
            Some(incoming) if incoming.blocking && !incoming.in_stead && incoming.earlier.is_empty() => Start::Go,
            Some(incoming) => Start::Claim(incoming.run()),
        }
    }

    /// Somebody else was quicker: it waits here until that one is done with it,
    /// or dead. Says whether there may be something to receive.
    pub fn lost(&mut self, id: ActivationId, now: Duration) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        held.state = State::Waiting;
        self.waiting.insert(id);
        self.look_again(id, now)
    }

    /// The bus did not say what a claim came to. Should it win after all, nobody
    /// else runs this: so it stays here, also if its partition goes, and is
    /// given out again when [others are looked for](Self::look_around), until
    /// that is known.
    pub fn unsettled(&mut self, id: ActivationId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Waiting;
            held.unsettled = true;
            self.waiting.insert(id);
        }
    }

    /// Whether a message here was accepted: nobody waits for it.
    pub fn is_accepted(&self, id: ActivationId) -> bool {
        self.held.get(&id).is_some_and(|held| !held.incoming.blocking)
    }

    /// Runs of it that failed.
    pub fn earlier(&self, id: ActivationId) -> Vec<Attempt> {
        self.held.get(&id).map(|held| held.incoming.earlier.clone()).unwrap_or_default()
    }

    /// Its record is safe. Says whether others should know.
    pub fn done(&mut self, id: ActivationId) -> bool {
        self.put_away(id);
        if self.recent.insert(id) {
            self.recent_order.push_back(id);
            if self.recent_order.len() > RECENT
                && let Some(oldest) = self.recent_order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
        self.claims.holder(id).is_some()
    }

    /// It is somewhere else now, durably.
    pub fn put_away(&mut self, id: ActivationId) {
        if let Some(held) = self.held.remove(&id) {
            self.waiting.remove(&id);
            self.apart -= usize::from(held.incoming.apart);
            if matches!(held.state, State::Queued(_)) {
                self.queued_bytes -= held.incoming.bytes;
            }
            held.places.iter().for_each(|place| self.parts.pass(place));
        }
    }

    /// Whether one more may wait for its next run.
    pub fn has_room_aside(&self) -> bool {
        self.has_room(Room::Aside, true)
    }

    /// Up to where a partition may be committed.
    pub fn position(&self, part: &Part) -> Option<i64> {
        self.parts.position(part)
    }

    /// The one after the last that was read of a partition.
    pub fn next_of(&self, part: &Part) -> i64 {
        self.parts.next(part)
    }

    /// Below what messages of a partition may have been given out.
    pub fn given(&self, part: &Part) -> i64 {
        self.parts.given(part)
    }

    /// Whether readers should read on. Below three quarters of the bounds they
    /// do again: it is not worth while for one message.
    pub fn has_room(&self, what: Room, reading: bool) -> bool {
        let bound = |whole: usize| if reading { whole } else { whole - whole / 4 };
        let has_any = self.held.len() < bound(self.bounds.held) && self.queued_bytes < bound(self.bounds.queued_bytes);
        match what {
            Room::Queued => has_any,
            Room::Apart => has_any && self.apart < bound(self.bounds.held / 2),
            // What is read there later is due later, mostly.
            Room::Aside => {
                self.aside.len() < bound(self.bounds.aside) && self.aside.bytes() < bound(self.bounds.queued_bytes)
            }
        }
    }

    /// How many are held, and how many of them wait for the invoker.
    pub fn load(&self) -> (usize, usize) {
        (self.held.len() + self.aside.len(), self.queue.len())
    }

    /// The invokers whose messages fall to this one.
    pub fn charges(&self, now: Duration) -> Vec<InvokerId> {
        self.members.charges(self.me.invoker, now)
    }

    /// From now on nothing is given out.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
#[path = "inbox/tests.rs"]
mod tests;
