//! The bus's server, as far as processes notice: logs that keep what reached
//! them, and groups that give each partition to one member at a time.

use std::{collections::BTreeMap, sync::Arc};

use whisker_bus_kafka::claims::Note;
use whisker_entity::ActivationId;

use crate::agenda::Time;

/// After so long without a sign a member is not in its group any more.
const SESSION: Time = 6_000;

/// One life of one process: a number, and which life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Life {
    pub process: usize,
    pub life: u64,
}

/// An activation on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub id: ActivationId,
    pub blocking: bool,
    /// Whether its action asks to be run again after an interruption.
    pub again: bool,
    /// How many runs of it failed.
    pub run: u32,
    pub controller: usize,
    /// The invoker for which it was meant.
    pub sent_to: usize,
    /// Whether it only tests an invoker.
    pub test: bool,
    pub memory_mb: u64,
    pub takes: Time,
    /// When it was written, on its writer's wall …
    pub written: Time,
    /// … and when it is to run.
    pub due: Time,
}

/// An invoker lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ping {
    pub who: Life,
    pub busy_mb: u64,
    pub enabled: bool,
}

/// A run is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub id: ActivationId,
    pub invoker: usize,
    /// Of a test activation nothing is booked.
    pub test: bool,
}

/// A partition that a group reads.
#[derive(Debug)]
pub(crate) struct Partition {
    pub topic: Arc<str>,
    pub log: Vec<Message>,
    /// Done below this …
    pub committed: i64,
    /// … and read below this, as its reader said.
    pub bound: i64,
    /// By when they were heard of last.
    members: BTreeMap<Life, Time>,
    owner: Option<Life>,
    /// Whether the owner is to give it up when it polls next.
    pub leaving: bool,
}

impl Partition {
    fn new(topic: String) -> Self {
        Self {
            topic: topic.into(),
            log: Vec::new(),
            committed: 0,
            bound: 0,
            members: BTreeMap::new(),
            owner: None,
            leaving: false,
        }
    }

    /// Joins, or stays. Of a process's own partition a new life takes its
    /// former one's place.
    pub fn join(&mut self, who: Life, now: Time) {
        self.members.retain(|member, _| member.process != who.process || member.life == who.life);
        self.owner = self.owner.filter(|owner| self.members.contains_key(owner));
        self.members.insert(who, now);
    }

    pub fn leave(&mut self, who: Life) {
        self.members.remove(&who);
        self.owner = self.owner.filter(|owner| *owner != who);
    }

    pub fn is_member(&self, who: Life) -> bool {
        self.members.contains_key(&who)
    }

    /// A sign of life: keeps a member in.
    pub fn heartbeat(&mut self, who: Life, now: Time) {
        if let Some(heard) = self.members.get_mut(&who) {
            *heard = now;
        }
    }

    pub fn is_owner(&self, who: Life) -> bool {
        self.owner == Some(who)
    }

    /// The owner gives it up.
    pub fn release(&mut self, who: Life) {
        if self.is_owner(who) {
            self.owner = None;
            self.leaving = false;
        }
    }

    /// Drops silent members and gives what nobody has to another one.
    pub fn coordinate(&mut self, now: Time, which: u64) {
        self.members.retain(|_, heard| *heard + SESSION > now);
        self.owner = self.owner.filter(|owner| self.members.contains_key(owner));
        if self.owner.is_none() {
            self.leaving = false;
            let which = which.checked_rem(self.members.len() as u64).unwrap_or(0);
            self.owner = self.members.keys().nth(which as usize).copied();
        }
    }

    /// Progress, which only the owner can write: whether it was.
    pub fn commit(&mut self, who: Life, position: i64, bound: i64) -> bool {
        if self.is_owner(who) {
            self.committed = self.committed.max(position);
            self.bound = bound.max(position);
        }
        self.is_owner(who)
    }

    pub fn has_more(&self) -> bool {
        self.committed < self.log.len() as i64
    }
}

#[derive(Debug)]
pub(crate) struct Broker {
    /// One for each invoker, and the last one for runs that follow failed ones.
    pub partitions: Vec<Partition>,
    pub claims: Vec<(ActivationId, Note, Time)>,
    health: Vec<Ping>,
    /// Until when nobody can read pings.
    pub unheard_until: Time,
    /// One for each controller.
    pub completed: Vec<Vec<Ack>>,
}

/// What can be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Post {
    Activation { partition: usize, message: Message },
    Note { id: ActivationId, note: Note, at: Time },
    Ping(Ping),
    Ack { controller: usize, ack: Ack },
}

impl Broker {
    pub fn new(invokers: usize, controllers: usize) -> Self {
        let names = (0..invokers).map(|invoker| format!("invoker{invoker}")).chain(["retries".to_owned()]);
        Self {
            partitions: names.map(Partition::new).collect(),
            claims: Vec::new(),
            health: Vec::new(),
            unheard_until: 0,
            completed: vec![Vec::new(); controllers],
        }
    }

    /// The partition of runs that follow failed ones.
    pub fn retries(&self) -> usize {
        self.partitions.len() - 1
    }

    /// Where pings are read from by whoever begins.
    pub fn newest_ping(&self) -> usize {
        self.health.len()
    }

    /// Pings from this one on.
    pub fn pings(&self, from: usize, now: Time) -> &[Ping] {
        let there = if now < self.unheard_until { &[] } else { self.health.as_slice() };
        there.get(from..).unwrap_or_default()
    }

    pub fn take(&mut self, post: Post) {
        match post {
            Post::Activation { partition, message } => self.partitions[partition].log.push(message),
            Post::Note { id, note, at } => self.claims.push((id, note, at)),
            Post::Ping(ping) => self.health.push(ping),
            Post::Ack { controller, ack } => self.completed[controller].push(ack),
        }
    }
}
