//! All invokers: their health, their memory, and what of it is booked or
//! believed to be taken by idle containers.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Config, Health, Policy,
    health::{Sign, Watch},
    ring::Ring,
    sharding,
};

/// What an invoker could still take, in MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// What is not booked; less than nothing when runs were forced upon it.
    pub free_mb: i64,
    /// What is neither booked nor taken by idle containers: room for a new
    /// one that costs nobody a warm one.
    pub vacant_mb: i64,
}

impl Room {
    /// Of one that must not be used.
    pub const NONE: Room = Room { free_mb: i64::MIN, vacant_mb: i64::MIN };

    /// The most of each.
    pub fn most(self, other: Room) -> Room {
        Room { free_mb: self.free_mb.max(other.free_mb), vacant_mb: self.vacant_mb.max(other.vacant_mb) }
    }
}

/// An invoker's memory, as it says, in MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    pub memory_mb: u64,
    /// What of it runs take, whoever sent them, where it says so.
    pub busy_mb: Option<u64>,
}

/// A container that is believed to be idle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Whose: a number of `warm.rs`.
    pub action: usize,
    pub cost_mb: i64,
    pub since: Duration,
}

/// One invoker.
#[derive(Debug)]
pub(crate) struct Seat {
    pub watch: Watch,
    pub memory: Memory,
    /// What runs of other controllers took of that when it pinged last; `None`
    /// where that is not known, or there are none.
    others_mb: Option<i64>,
    /// This controller's share; nothing before the first ping.
    pub share_mb: i64,
    pub booked_mb: i64,
    /// Oldest first, by when they were noted.
    pub idle: BTreeMap<u64, Idle>,
    pub idle_mb: i64,
    /// The process that pings, and the one before it.
    pub life: u64,
    pub former: u64,
    /// Whether it ever pinged.
    pub known: bool,
    /// What of it is in the totals.
    counted: (i64, i64),
}

/// The invokers that take one sort of actions.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub first: usize,
    pub count: usize,
    /// The healthy ones, by number.
    usable: Vec<usize>,
    /// For [`Policy::Sharding`].
    pub steps: Vec<usize>,
    /// For [`Policy::Bounded`].
    pub ring: Ring,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    pub seats: Vec<Seat>,
    /// What each of them has, side by side: policies look at many.
    pub rooms: Vec<Room>,
    pub managed: Group,
    pub blackbox: Group,
    /// Of all healthy ones: what is booked, and this controller's share.
    pub booked_mb: i64,
    pub share_mb: i64,
    controllers: u32,
}

impl Fleet {
    pub fn new() -> Self {
        Self {
            seats: Vec::new(),
            rooms: Vec::new(),
            managed: Group::default(),
            blackbox: Group::default(),
            booked_mb: 0,
            share_mb: 0,
            controllers: 1,
        }
    }

    /// Makes room for an invoker and all below it, which are offline until
    /// they ping.
    pub fn extend_to(&mut self, invoker: usize, config: &Config) {
        if invoker < self.seats.len() {
            return;
        }
        self.seats.resize_with(invoker + 1, || Seat {
            watch: Watch::unknown(),
            memory: Memory::default(),
            others_mb: None,
            share_mb: 0,
            booked_mb: 0,
            idle: BTreeMap::new(),
            idle_mb: 0,
            life: 0,
            former: 0,
            known: false,
            counted: (0, 0),
        });
        self.rooms.resize(self.seats.len(), Room::NONE);
        let all = self.seats.len();
        let (managed, blackboxes) = sharding::split(all, config.managed_fraction, config.blackbox_fraction);
        self.managed = Group::new(0, managed, config.policy);
        self.blackbox = Group::new(all - blackboxes, blackboxes, config.policy);
        // Both groups are new, and know nobody yet.
        self.rooms.fill(Room::NONE);
        for invoker in 0..all {
            self.refresh(invoker);
        }
    }

    pub fn group(&self, blackbox: bool) -> &Group {
        if blackbox { &self.blackbox } else { &self.managed }
    }

    /// Whether other controllers use the same invokers.
    pub fn is_shared(&self) -> bool {
        self.controllers > 1
    }

    pub fn is_usable(&self, invoker: usize) -> bool {
        self.seats.get(invoker).is_some_and(|seat| seat.watch.state().is_usable())
    }

    /// So many controllers share the invokers. What is booked stays booked:
    /// where it is more than the new share, nothing is added until it is less.
    /// (OpenWhisk forgets it, and what ends then seems to give memory back
    /// that nobody took.)
    pub fn divide(&mut self, controllers: u32, config: &Config) {
        self.controllers = controllers.max(1);
        for invoker in 0..self.seats.len() {
            let memory = self.seats[invoker].memory;
            self.resize(invoker, memory, config);
        }
    }

    /// An invoker has so much memory, and so much of it is taken. At least the
    /// smallest action fits into an even part of it, even if that is too much
    /// for all together.
    pub fn resize(&mut self, invoker: usize, memory: Memory, config: &Config) {
        let asks = self.is_shared() && config.policy == Policy::Bounded;
        let controllers = i64::from(self.controllers);
        let seat = &mut self.seats[invoker];
        seat.memory = memory;
        if seat.known {
            let whole = megabytes(memory.memory_mb);
            let busy = memory.busy_mb.map(megabytes).filter(|_| asks);
            seat.others_mb = busy.map(|busy| (busy - seat.booked_mb).clamp(0, whole));
            let even = (whole / controllers).max(i64::from(config.min_memory_mb));
            seat.share_mb =
                seat.others_mb.map_or(even, |others| share(even, whole - others, seat.booked_mb, controllers));
        }
        self.refresh(invoker);
    }

    /// Lets an invoker's watch hear a sign. Says what it was, what it is, and
    /// whether a test is wanted.
    pub fn hear(&mut self, invoker: usize, now: Duration, sign: Sign, config: &Config) -> (Health, Health, bool) {
        let watch = &mut self.seats[invoker].watch;
        let from = watch.state();
        let test = watch.on(now, sign, config.offline_after, config.test_every);
        let to = watch.state();
        if from != to {
            self.refresh(invoker);
        }
        (from, to, test)
    }

    /// Books memory, or gives it back (less than nothing).
    pub fn book(&mut self, invoker: usize, cost_mb: i64) {
        self.seats[invoker].booked_mb += cost_mb;
        self.refresh(invoker);
    }

    pub fn note_idle(&mut self, invoker: usize, stamp: u64, idle: Idle) {
        let seat = &mut self.seats[invoker];
        seat.idle_mb += idle.cost_mb;
        seat.idle.insert(stamp, idle);
        self.refresh(invoker);
    }

    /// Forgets an idle container, and says which it was.
    pub fn take_idle(&mut self, invoker: usize, stamp: u64) -> Option<Idle> {
        let seat = self.seats.get_mut(invoker)?;
        let idle = seat.idle.remove(&stamp)?;
        seat.idle_mb -= idle.cost_mb;
        self.refresh(invoker);
        Some(idle)
    }

    /// The idle container that would have to go, if memory is overdrawn by all
    /// of them. They may take what no other controller's runs do, if that is
    /// known, and not only this controller's share.
    pub fn surplus(&self, invoker: usize) -> Option<u64> {
        let seat = &self.seats[invoker];
        let (stamp, _) = seat.idle.first_key_value()?;
        let left_mb = seat.others_mb.map_or(0, |others| megabytes(seat.memory.memory_mb) - others);
        (seat.booked_mb.saturating_add(seat.idle_mb) > seat.share_mb.max(left_mb)).then_some(*stamp)
    }

    /// Whether an invoker, with so much more, would be loaded no higher than
    /// the bound: a part of its share that is always granted, or somewhat more
    /// than what is booked of all shares together.
    pub fn is_within_bound(&self, invoker: usize, cost_mb: i64, config: &Config) -> bool {
        let seat = &self.seats[invoker];
        let load = i128::from(seat.booked_mb.saturating_add(cost_mb)) * 100;
        let share = i128::from(seat.share_mb);
        let floor = i128::from(config.load_floor_percent);
        if load <= share * if self.is_shared() { i128::midpoint(floor, 100) } else { floor } {
            return true;
        }
        let booked = i128::from(self.booked_mb.saturating_add(cost_mb));
        load * i128::from(self.share_mb) <= share * booked * i128::from(config.load_bound_percent)
    }

    /// Who is loaded less: by all, where that is known, or relative to its share.
    pub fn less_loaded(&self, one: usize, other: usize) -> usize {
        let load = |invoker: usize| {
            let seat = &self.seats[invoker];
            let (taken, of) = match seat.others_mb {
                Some(others) => (seat.booked_mb + others, megabytes(seat.memory.memory_mb)),
                None => (seat.booked_mb, seat.share_mb),
            };
            (i128::from(taken), i128::from(of.max(1)))
        };
        let (a, b) = (load(one), load(other));
        if b.0 * a.1 < a.0 * b.1 { other } else { one }
    }

    fn refresh(&mut self, invoker: usize) {
        let seat = &mut self.seats[invoker];
        let usable = seat.watch.state().is_usable();
        let free_mb = seat.share_mb - seat.booked_mb;
        let room = if usable { Room { free_mb, vacant_mb: free_mb - seat.idle_mb } } else { Room::NONE };
        if usable != (self.rooms[invoker] != Room::NONE) {
            self.managed.set_usable(invoker, usable);
            self.blackbox.set_usable(invoker, usable);
        }
        let counted = if usable { (seat.booked_mb, seat.share_mb) } else { (0, 0) };
        self.booked_mb += counted.0 - seat.counted.0;
        self.share_mb += counted.1 - seat.counted.1;
        seat.counted = counted;
        self.rooms[invoker] = room;
        self.managed.ring.set(invoker, room);
        self.blackbox.ring.set(invoker, room);
    }
}

fn megabytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

/// What one of several controllers may book of an invoker, of which the others
/// leave so much: an even part of all, or, beside what it has booked, an even
/// part of what nobody has; and never what others have.
///
/// Pings are up to a second old. Of what others booked since nothing is known,
/// so that several that are in a hurry at once may book the same. What is too
/// much then waits in the invoker's own queue, and with the next ping everybody
/// knows.
fn share(even: i64, left: i64, booked: i64, controllers: i64) -> i64 {
    let free = (left - booked).max(0);
    even.max(booked + free / controllers).min(left)
}

impl Group {
    fn new(first: usize, count: usize, policy: Policy) -> Self {
        let (steps, ring) = match policy {
            Policy::Sharding => (sharding::steps(count), Ring::default()),
            Policy::Bounded => (Vec::new(), Ring::new(first, count)),
        };
        Self { first, count, usable: Vec::new(), steps, ring }
    }

    fn set_usable(&mut self, invoker: usize, usable: bool) {
        if !self.has(invoker) {
            return;
        }
        match (self.usable.binary_search(&invoker), usable) {
            (Err(at), true) => self.usable.insert(at, invoker),
            (Ok(at), false) => drop(self.usable.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    pub fn has(&self, invoker: usize) -> bool {
        (self.first..self.first + self.count).contains(&invoker)
    }

    /// A random one that is usable.
    pub fn any(&self, dice: u64) -> Option<usize> {
        let at = dice.checked_rem(self.usable.len() as u64)?;
        self.usable.get(usize::try_from(at).ok()?).copied()
    }
}
