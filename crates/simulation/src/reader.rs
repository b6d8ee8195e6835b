//! What an invoker reads of the partitions that are its own for a while: as
//! `whisker-bus-kafka`'s reader does it, which has threads. What may be read,
//! and how far is committed, the real values say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use whisker_bus::Attempt;
use whisker_bus_kafka::{
    inbox::{Inbox, Incoming, Part, Place, Room},
    reads::Reads,
};
use whisker_entity::Status;

use crate::{
    Sabotage,
    agenda::Time,
    broker::{Broker, Life, Message},
};

/// Bytes that a message counts for.
const BYTES: usize = 1_000;

/// A partition, as long as it is ours.
#[derive(Debug)]
struct Mine {
    part: Part,
    reads: Reads,
    /// Whether the inbox had no room for more.
    paused: bool,
}

/// When something is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// By a clock that nobody sets.
    pub now: Time,
    /// By the one on the process's wall.
    pub wall: Time,
}

#[derive(Debug)]
pub(crate) struct Reader {
    me: Life,
    mine: BTreeMap<usize, Mine>,
    /// Others' partitions that are read in their stead.
    in_stead: BTreeSet<usize>,
    /// Readers that there were.
    readers: u64,
    sabotage: Sabotage,
}

impl Reader {
    pub fn new(me: Life, sabotage: Sabotage) -> Self {
        Self { me, mine: BTreeMap::new(), in_stead: BTreeSet::new(), readers: 0, sabotage }
    }

    /// Joins and leaves groups, takes over what it was given and gives up what
    /// it lost. `charges` are the others that it looks after; `None`: it leaves.
    pub fn take_part(&mut self, broker: &mut Broker, inbox: &mut Inbox<Message>, charges: Option<&[usize]>, now: Time) {
        let own = [self.me.process, broker.retries()];
        for partition in 0..broker.partitions.len() {
            let wanted = charges.is_some_and(|charges| {
                let left = || self.in_stead.contains(&partition) || broker.partitions[partition].has_more();
                own.contains(&partition) || charges.contains(&partition) && left()
            });
            let place = &mut broker.partitions[partition];
            place.heartbeat(self.me, now);
            match (wanted, place.is_member(self.me)) {
                (true, false) => {
                    self.readers += 1;
                    place.join(self.me, now);
                }
                (false, true) => {
                    self.give_up(broker, inbox, partition);
                    broker.partitions[partition].leave(self.me);
                }
                (true, true) | (false, false) => {}
            }
            if wanted && !own.contains(&partition) {
                self.in_stead.insert(partition);
            } else {
                self.in_stead.remove(&partition);
            }
            let place = &mut broker.partitions[partition];
            match (place.is_owner(self.me), self.mine.contains_key(&partition)) {
                (true, false) => {
                    let part = Part { reader: self.readers, topic: Arc::clone(&place.topic), partition: 0 };
                    let bound = place.bound.max(place.committed);
                    inbox.assigned(part.clone(), place.committed, bound);
                    self.mine.insert(partition, Mine { part, reads: Reads::after(bound), paused: false });
                }
                (true, true) if place.leaving => self.give_up(broker, inbox, partition),
                (false, true) => self.loses(inbox, partition),
                (true, true) | (false, false) => {}
            }
        }
    }

    fn loses(&mut self, inbox: &mut Inbox<Message>, partition: usize) {
        if let Some(mine) = self.mine.remove(&partition) {
            inbox.revoked(&mine.part);
        }
    }

    /// Gives a partition up, and says exactly how far it came.
    fn give_up(&mut self, broker: &mut Broker, inbox: &mut Inbox<Message>, partition: usize) {
        if let Some(Mine { part, .. }) = self.mine.get(&partition)
            && let Some(position) = inbox.position(part)
        {
            let place = &mut broker.partitions[partition];
            place.commit(self.me, position, inbox.given(part).max(position));
            place.release(self.me);
        }
        self.loses(inbox, partition);
    }

    /// Ends what it reads, and leaves all groups.
    pub fn leave(&mut self, broker: &mut Broker, inbox: &mut Inbox<Message>) {
        self.take_part(broker, inbox, None, 0);
    }

    /// Reads at most so many messages of each partition.
    pub fn read(&mut self, broker: &mut Broker, inbox: &mut Inbox<Message>, most: u64, when: When) {
        let numbers: Vec<usize> = self.mine.keys().copied().collect();
        for number in numbers {
            for _ in 0..most {
                if !self.read_one(broker, inbox, number, when) {
                    break;
                }
            }
            if self.sabotage == Sabotage::CommittedEarly
                && let Some(Mine { part, reads, .. }) = self.mine.get(&number)
            {
                broker.partitions[number].commit(self.me, inbox.next_of(part), reads.granted());
            }
        }
    }

    /// Whether there was something to read, and room for it.
    fn read_one(&mut self, broker: &mut Broker, inbox: &mut Inbox<Message>, number: usize, when: When) -> bool {
        let room = if number == broker.retries() { Room::Aside } else { Room::Queued };
        let place = &mut broker.partitions[number];
        let Some(Mine { part, reads, paused }) = self.mine.get_mut(&number) else { return false };
        *paused = !inbox.has_room(room, !*paused);
        let offset = inbox.next_of(part);
        let Some(message) = place.log.get(offset as usize).copied().filter(|_| !*paused) else { return false };
        let mut reserve = |reads: &mut Reads, inbox: &Inbox<Message>, bound| {
            let written = inbox.position(part).is_some_and(|position| place.commit(self.me, position, bound));
            if written {
                reads.grant(bound);
            }
            written
        };
        if message.blocking && !reads.may_read(offset) {
            let bound = reads.wanted(offset);
            if !reserve(reads, inbox, bound) {
                return false;
            }
        }
        let doubtful = reads.is_doubtful(offset) && self.sabotage != Sabotage::DoubtIgnored;
        let incoming = Incoming {
            message,
            activation: message.id,
            blocking: message.blocking,
            earlier: vec![failed(); message.run as usize],
            due: message.due,
            written: message.written,
            doubtful,
            in_stead: self.in_stead.contains(&number),
            apart: false,
            bytes: BYTES,
        };
        inbox.arrived(Place { part: part.clone(), offset }, incoming, when.wall, Duration::from_millis(when.now));
        if let Some(bound) = reads.ahead(offset + 1) {
            reserve(reads, inbox, bound);
        }
        true
    }

    /// Commits what is done; `quiet`: nothing came for a while.
    pub fn commit(&mut self, broker: &mut Broker, inbox: &Inbox<Message>, quiet: bool) {
        for (number, Mine { part, reads, .. }) in &mut self.mine {
            let Some(position) = inbox.position(part) else { continue };
            if quiet && let Some(bound) = reads.quiet(inbox.next_of(part)) {
                reads.grant(bound);
            }
            broker.partitions[*number].commit(self.me, position, reads.granted());
        }
    }
}

fn failed() -> Attempt {
    Attempt { start: 0, duration: 0, status: Status::WhiskError, error: String::new(), logs: Vec::new() }
}
