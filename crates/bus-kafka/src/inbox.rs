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
//!      ├──▶ waiting ◀────────┘ somebody else was quicker
//!      ├──▶ aside, until it is due
//!      └──▶ done, if somebody saw it through
//! ```
//!
//! A message that comes twice while it is here is one message in two places:
//! both are done when it is.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;
use whisker_bus::{ActivationMessage, Attempt, Delivery, InvokerId, InvokerPing, Redelivered};
use whisker_entity::{ActivationId, Millis};

use crate::{
    claims::{Claimant, Claims, Facts, Note, Verdict, Won},
    members::Members,
    offsets::Offsets,
};

/// A partition, as one of several readers has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Tells readers apart: two may follow each other in one partition.
    pub reader: u64,
    pub topic: Arc<str>,
    pub partition: i32,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub part: Part,
    pub offset: i64,
}

/// A message as it was read.
pub(crate) struct Incoming {
    pub message: Arc<ActivationMessage>,
    /// Runs of it that failed.
    pub earlier: Vec<Attempt>,
    /// When it is to run; at once, mostly.
    pub due: Millis,
    /// When it was written.
    pub written: Millis,
    /// Whether an earlier reader may have had it.
    pub doubtful: bool,
    /// Whether a claim is needed though a client waits: it was read in
    /// another's stead.
    pub in_stead: bool,
    /// Whether it came by a topic of somebody's own.
    pub apart: bool,
    pub bytes: usize,
}

impl Incoming {
    fn run(&self) -> u32 {
        u32::try_from(self.earlier.len()).unwrap_or(u32::MAX)
    }

    fn facts(&self) -> Facts {
        Facts {
            activation: self.message.activation,
            run: self.run(),
            blocking: self.message.blocking,
            doubtful: self.doubtful,
            written: self.written,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued(Redelivered),
    Given,
    Waiting,
}

struct Held {
    incoming: Incoming,
    places: Vec<Place>,
    state: State,
}

/// What is asked of whoever wants to begin a run.
#[derive(Debug)]
pub(crate) enum Start {
    /// Nothing: go on.
    Go,
    /// To write a claim of this run, and to wait for what it comes to.
    Claim(u32, oneshot::Receiver<Won>),
    /// To leave it.
    Leave,
}

/// What can be received now.
pub(crate) enum Next {
    Message(Delivery, Waited),
    /// Nothing before this time.
    Later(Millis),
    Nothing,
    Closed,
}

/// For the metrics: of which topic, and when it was written.
pub(crate) struct Waited {
    pub topic: Arc<str>,
    pub written: Millis,
}

#[derive(Debug)]
struct Progress {
    offsets: Offsets,
    /// Below this, messages were or may have been given out, here or before.
    given: i64,
}

/// Bounds of what is held; at any of them no more is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub held: usize,
    pub queued_bytes: usize,
    pub aside: usize,
}

/// What there may be room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// For what is to run at once.
    Queued,
    /// The same of topics of somebody's own: they get half of it.
    Apart,
    /// For what is to run later.
    Aside,
}

pub(crate) struct Inbox {
    me: Claimant,
    bounds: Bounds,
    pub claims: Claims,
    pub members: Members,
    parts: BTreeMap<Part, Progress>,
    held: HashMap<ActivationId, Held>,
    queue: VecDeque<ActivationId>,
    queued_bytes: usize,
    /// Held ones that came by topics of somebody's own.
    apart: usize,
    waiting: HashSet<ActivationId>,
    /// By when they are due, and a number that tells equals apart.
    aside: BTreeMap<(Millis, u64), (Incoming, Place)>,
    aside_bytes: usize,
    number: u64,
    claiming: HashMap<(ActivationId, u32), Vec<oneshot::Sender<Won>>>,
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
const MOMENT_MS: Millis = 20;

impl Inbox {
    pub fn new(me: Claimant, bounds: Bounds, claims: Claims, members: Members) -> Self {
        Self {
            me,
            bounds,
            claims,
            members,
            parts: BTreeMap::new(),
            held: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            apart: 0,
            waiting: HashSet::new(),
            aside: BTreeMap::new(),
            aside_bytes: 0,
            number: 0,
            claiming: HashMap::new(),
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
        self.parts.insert(part, Progress { offsets: Offsets::starting_at(from), given: bound.max(from) });
    }

    /// A partition is a reader's no more. What was not given out is another's.
    pub fn revoked(&mut self, part: &Part) {
        self.parts.remove(part);
        let gone = |place: &Place| place.part == *part;
        self.aside.retain(|_, (_, place)| !gone(place));
        self.aside_bytes = self.aside.values().map(|(incoming, _)| incoming.bytes).sum();
        let (mut forgotten, mut bytes) = (HashSet::new(), 0);
        self.held.retain(|id, held| {
            let places = held.places.len();
            held.places.retain(|place| !gone(place));
            // Others may read it now.
            held.incoming.in_stead |= held.places.len() < places;
            let keep = held.state == State::Given || !held.places.is_empty();
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
        if self.read(place) {
            self.pass(place);
        }
    }

    /// A message was read. Says whether there may be something to receive.
    pub fn arrived(&mut self, place: Place, incoming: Incoming, wall: Millis, now: Duration) -> bool {
        if !self.read(&place) {
            return false;
        }
        self.place(place, incoming, wall, now)
    }

    fn place(&mut self, place: Place, incoming: Incoming, wall: Millis, now: Duration) -> bool {
        if incoming.due > wall {
            return self.put_aside(incoming.due, incoming, place);
        }
        let id = incoming.message.activation;
        match self.held.get_mut(&id) {
            Some(held) if incoming.run() <= held.incoming.run() => {
                held.places.push(place);
                false
            }
            // The run before it is not put away yet.
            Some(_) => self.put_aside(wall + MOMENT_MS, incoming, place),
            None => self.admit(vec![place], incoming, now),
        }
    }

    fn put_aside(&mut self, due: Millis, incoming: Incoming, place: Place) -> bool {
        self.number += 1;
        self.aside_bytes += incoming.bytes;
        self.aside.insert((due, self.number), (incoming, place));
        true
    }

    fn admit(&mut self, places: Vec<Place>, incoming: Incoming, now: Duration) -> bool {
        let id = incoming.message.activation;
        let state = match self.judge(&incoming, now) {
            Verdict::Run => State::Queued(Redelivered::No),
            Verdict::Interrupted => State::Queued(Redelivered::AfterStart),
            Verdict::Wait => State::Waiting,
            Verdict::Over => {
                places.iter().for_each(|place| self.pass(place));
                return false;
            }
        };
        if state == State::Waiting {
            self.waiting.insert(id);
        } else {
            self.queue.push_back(id);
            self.queued_bytes += incoming.bytes;
        }
        self.apart += usize::from(incoming.apart);
        self.held.insert(id, Held { incoming, places, state });
        state != State::Waiting
    }

    fn judge(&self, incoming: &Incoming, now: Duration) -> Verdict {
        if self.recent.contains(&incoming.message.activation) {
            return Verdict::Over;
        }
        self.claims.judge(incoming.facts(), |by| self.members.is_alive(by, now))
    }

    /// Something was read from the topic of claims. Says whether there may be
    /// something to receive.
    pub fn noted(&mut self, activation: ActivationId, note: Note, at: Millis, now: Duration) -> bool {
        let won = self.claims.read(activation, note, at);
        match note {
            Note::Claim { run, by } if by == self.me => {
                for waiter in self.claiming.remove(&(activation, run)).into_iter().flatten() {
                    let _ = waiter.send(won);
                }
            }
            Note::Claim { .. } | Note::Over => {}
        }
        self.waiting.contains(&activation) && self.look_again(activation, now)
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
        if self.judge(&held.incoming, now) == Verdict::Wait {
            return false;
        }
        self.waiting.remove(&id);
        match self.held.remove(&id) {
            Some(Held { incoming, places, .. }) => {
                self.apart -= usize::from(incoming.apart);
                self.admit(places, incoming, now)
            }
            None => false,
        }
    }

    /// The next message to give out, oldest first.
    pub fn next(&mut self, wall: Millis, now: Duration) -> Next {
        if self.closed {
            return Next::Closed;
        }
        while let Some(entry) = self.aside.first_entry() {
            if entry.key().0 > wall {
                break;
            }
            let (mut incoming, place) = entry.remove();
            self.aside_bytes -= incoming.bytes;
            incoming.due = 0;
            self.place(place, incoming, wall, now);
        }
        while let Some(id) = self.queue.pop_front() {
            let Some(held) = self.held.get_mut(&id) else { continue };
            let State::Queued(redelivered) = held.state else { continue };
            held.state = State::Given;
            self.queued_bytes -= held.incoming.bytes;
            for place in &held.places {
                if let Some(part) = self.parts.get_mut(&place.part) {
                    part.given = part.given.max(place.offset + 1);
                }
            }
            let topic = held.places.first().map_or_else(|| "".into(), |place| Arc::clone(&place.part.topic));
            let waited = Waited { topic, written: held.incoming.written };
            let message = Arc::clone(&held.incoming.message);
            return Next::Message(Delivery { message, redelivered, earlier: held.incoming.earlier.clone() }, waited);
        }
        self.aside.first_key_value().map_or(Next::Nothing, |((due, _), _)| Next::Later(*due))
    }

    /// A run is to begin.
    pub fn starting(&mut self, id: ActivationId) -> Start {
        let Some(held) = self.held.get(&id) else { return Start::Leave };
        if held.incoming.message.blocking && !held.incoming.in_stead && held.incoming.earlier.is_empty() {
            return Start::Go;
        }
        let run = held.incoming.run();
        let (sender, receiver) = oneshot::channel();
        self.claiming.entry((id, run)).or_default().push(sender);
        Start::Claim(run, receiver)
    }

    /// Nobody waits for a claim any more.
    pub fn forget_claim(&mut self, id: ActivationId, run: u32) {
        self.claiming.remove(&(id, run));
    }

    /// Somebody else was quicker: it waits here until that one is done with it,
    /// or dead.
    pub fn lost(&mut self, id: ActivationId, now: Duration) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        held.state = State::Waiting;
        self.waiting.insert(id);
        self.look_again(id, now)
    }

    /// Whether a message here was accepted: nobody waits for it.
    pub fn is_accepted(&self, id: ActivationId) -> bool {
        self.held.get(&id).is_some_and(|held| !held.incoming.message.blocking)
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
            held.places.iter().for_each(|place| self.pass(place));
        }
    }

    /// Whether one more may wait for its next run.
    pub fn has_room_aside(&self) -> bool {
        self.has_room(Room::Aside, true)
    }

    fn read(&mut self, place: &Place) -> bool {
        self.parts.get_mut(&place.part).is_some_and(|part| part.offsets.read(place.offset))
    }

    fn pass(&mut self, place: &Place) {
        if let Some(part) = self.parts.get_mut(&place.part) {
            part.offsets.done(place.offset);
        }
    }

    /// Up to where a partition may be committed.
    pub fn position(&self, part: &Part) -> Option<i64> {
        Some(self.parts.get(part)?.offsets.position())
    }

    /// The one after the last that was read of a partition.
    pub fn next_of(&self, part: &Part) -> i64 {
        self.parts.get(part).map_or(0, |part| part.offsets.next())
    }

    /// Below what messages of a partition may have been given out.
    pub fn given(&self, part: &Part) -> i64 {
        self.parts.get(part).map_or(0, |part| part.given)
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
                self.aside.len() < bound(self.bounds.aside) && self.aside_bytes < bound(self.bounds.queued_bytes)
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
