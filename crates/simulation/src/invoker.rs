//! An invoker: the real inbox, and what it runs.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use whisker_bus::{Incarnation, InvokerId, InvokerInstance, InvokerPing};
use whisker_bus_kafka::{
    claims::{Claimant, Claims, Note},
    inbox::{Bounds, Inbox, Noted},
    members::Members,
};
use whisker_entity::{ActivationId, ByteSize};

use crate::{
    Sabotage,
    agenda::Time,
    broker::{Broker, Life, Message, Ping},
    controller::MEMORY_MB,
    reader::{Reader, When},
};

/// After so long without a ping an invoker is offline to the others.
const OFFLINE_AFTER: Duration = Duration::from_secs(10);
/// More than there are in one life: what is forgotten is another story.
const CLAIMS_KEPT: usize = 100_000;

/// One life of an invoker's process.
pub(crate) struct Invoker {
    pub me: Claimant,
    pub inbox: Inbox<Message>,
    pub reader: Reader,
    /// How far it read.
    pub claims: usize,
    pub health: usize,
    /// Runs that wait for memory.
    pub queue: VecDeque<Message>,
    /// Runs whose claim is not read yet: they have their memory.
    pub claiming: BTreeMap<ActivationId, Message>,
    pub running: BTreeMap<ActivationId, Message>,
    pub draining: bool,
    pub used_mb: u64,
}

fn time(now: Time) -> Duration {
    Duration::from_millis(now)
}

fn claimant(who: Life) -> Claimant {
    Claimant { invoker: InvokerId(who.process as u32), incarnation: Incarnation(who.life) }
}

impl Invoker {
    /// One that starts: it has read all claims that there are.
    pub fn new(who: Life, invokers: usize, broker: &Broker, bounds: Bounds, now: Time, sabotage: Sabotage) -> Self {
        let (me, now) = (claimant(who), time(now));
        let mut inbox = Inbox::new(me, bounds, Claims::new(CLAIMS_KEPT), Members::new(OFFLINE_AFTER, now));
        // As their topics tell.
        (0..invokers).for_each(|other| inbox.exists(InvokerId(other as u32), now));
        for (id, note, at) in &broker.claims {
            inbox.noted(*id, *note, *at, now);
        }
        Self {
            me,
            inbox,
            reader: Reader::new(who, sabotage),
            claims: broker.claims.len(),
            health: broker.newest_ping(),
            queue: VecDeque::new(),
            claiming: BTreeMap::new(),
            running: BTreeMap::new(),
            draining: false,
            used_mb: 0,
        }
    }

    /// Reads pings, at most so many.
    pub fn follow_health(&mut self, broker: &Broker, most: usize, now: Time) {
        for ping in broker.pings(self.health, now).iter().take(most) {
            self.health += 1;
            self.heard(*ping, now);
        }
    }

    fn heard(&mut self, ping: Ping, now: Time) {
        let who = claimant(ping.who);
        let instance = InvokerInstance::new(who.invoker, ByteSize::bytes(0));
        let ping = InvokerPing { instance, enabled: ping.enabled, incarnation: Some(who.incarnation) };
        self.inbox.heard(&ping, time(now));
    }

    /// Reads the next claim, if there is one, and says what it came to if it is
    /// our own.
    pub fn follow_claims(&mut self, broker: &Broker, now: Time) -> Option<(ActivationId, Noted)> {
        let (id, note, at): (_, Note, _) = *broker.claims.get(self.claims)?;
        self.claims += 1;
        Some((id, self.inbox.noted(id, note, at, time(now))))
    }

    /// Reads messages, at most so many of each partition.
    pub fn read(&mut self, broker: &mut Broker, most: u64, when: When) {
        let charges: Vec<usize> = self.inbox.charges(time(when.now)).into_iter().map(|id| id.0 as usize).collect();
        let charges = Some(&*charges).filter(|_| !self.draining);
        self.reader.take_part(broker, &mut self.inbox, charges, when.now);
        self.reader.read(broker, &mut self.inbox, most, when);
    }

    /// The next run for which there is memory, which it gets.
    pub fn begin(&mut self) -> Option<Message> {
        let first = *self.queue.front()?;
        if self.used_mb + first.memory_mb > MEMORY_MB {
            return None;
        }
        self.queue.pop_front();
        self.used_mb += first.memory_mb;
        Some(first)
    }

    pub fn free(&mut self, message: Message) {
        self.used_mb -= message.memory_mb;
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.claiming.is_empty()
    }
}
