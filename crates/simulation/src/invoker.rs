//! An invoker: what it has read, what it runs, and what it has to record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whisker_entity::ActivationId;

use crate::{
    agenda::Time,
    broker::{Broker, Life, Message},
    controller::MEMORY_MB,
    inbox::Inbox,
};

/// One life of an invoker's process.
#[derive(Debug)]
pub(crate) struct Invoker {
    pub me: Life,
    pub inbox: Inbox,
    /// How far it read.
    pub claims: usize,
    pub health: usize,
    /// Runs that wait for memory.
    pub queue: VecDeque<Message>,
    /// Runs whose claim is not read yet: they have their memory.
    pub claiming: BTreeMap<ActivationId, Message>,
    pub running: BTreeMap<ActivationId, Message>,
    /// Others' partitions that it reads in their stead.
    pub in_stead: BTreeSet<usize>,
    pub draining: bool,
    used_mb: u64,
}

impl Invoker {
    pub fn new(me: Life, inbox: Inbox) -> Self {
        Self {
            me,
            inbox,
            claims: 0,
            health: 0,
            queue: VecDeque::new(),
            claiming: BTreeMap::new(),
            running: BTreeMap::new(),
            in_stead: BTreeSet::new(),
            draining: false,
            used_mb: 0,
        }
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

    /// Joins and leaves groups, takes over what it was given and gives up what
    /// it lost.
    pub fn take_part(&mut self, broker: &mut Broker, now: Time) {
        let own = self.me.process;
        let retries = broker.retries();
        let charges = if self.draining { Vec::new() } else { self.inbox.charges(now) };
        for partition in 0..broker.partitions.len() {
            let wanted = if partition == own || partition == retries {
                !self.draining
            } else {
                let read = self.in_stead.contains(&partition);
                charges.contains(&partition) && (read || broker.partitions[partition].has_more())
            };
            let place = &mut broker.partitions[partition];
            place.heartbeat(self.me, now);
            match (wanted, place.is_member(self.me)) {
                (true, false) => place.join(self.me, now),
                (false, true) => {
                    self.give_up(broker, partition);
                    broker.partitions[partition].leave(self.me);
                }
                (true, true) | (false, false) => {}
            }
            if partition != own && partition != retries {
                if wanted {
                    self.in_stead.insert(partition)
                } else {
                    self.in_stead.remove(&partition)
                };
            }
            let place = &mut broker.partitions[partition];
            match (place.is_owner(self.me), self.inbox.parts.contains_key(&partition)) {
                (true, false) => {
                    let in_stead = self.in_stead.contains(&partition);
                    self.inbox.assigned(partition, place.committed, place.bound, in_stead);
                }
                (true, true) if place.leaving => {
                    self.give_up(broker, partition);
                }
                (false, true) => self.inbox.revoked(partition),
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Gives a partition up, and says exactly how far it came.
    pub fn give_up(&mut self, broker: &mut Broker, partition: usize) {
        if let Some(part) = self.inbox.parts.get(&partition) {
            let place = &mut broker.partitions[partition];
            place.commit(self.me, part.offsets.position(), part.given);
            place.release(self.me);
        }
        self.inbox.revoked(partition);
    }

    /// Reads at most so many messages of a partition.
    pub fn read(&mut self, broker: &mut Broker, partition: usize, most: u64, early: bool, now: Time) {
        for _ in 0..most {
            let Some(part) = self.inbox.parts.get_mut(&partition) else { return };
            let next = part.offsets.next();
            let place = &mut broker.partitions[partition];
            let Some(message) = place.log.get(next as usize).copied() else { break };
            if !part.reads.may_read(next) {
                let bound = part.reads.wanted(next);
                if !place.commit(self.me, part.offsets.position(), bound) {
                    return self.inbox.revoked(partition);
                }
                part.reads.grant(bound);
            }
            self.inbox.arrived(partition, message, now);
        }
        let Some(part) = self.inbox.parts.get_mut(&partition) else { return };
        let place = &mut broker.partitions[partition];
        if let Some(bound) = part.reads.ahead(part.offsets.next())
            && place.commit(self.me, part.offsets.position(), bound)
        {
            part.reads.grant(bound);
        }
        if early {
            place.commit(self.me, part.offsets.next(), part.reads.granted());
        }
    }

    /// Commits what is done.
    pub fn commit(&mut self, broker: &mut Broker, quiet: bool) {
        let mut lost = Vec::new();
        for (partition, part) in &mut self.inbox.parts {
            let bound = if quiet { part.reads.quiet(part.offsets.next()) } else { None };
            let bound = bound.unwrap_or(part.reads.granted());
            if broker.partitions[*partition].commit(self.me, part.offsets.position(), bound) {
                part.reads.grant(bound);
            } else {
                lost.push(*partition);
            }
        }
        lost.into_iter().for_each(|partition| self.inbox.revoked(partition));
    }
}
