//! Which slot takes the next run, and who gets the next container.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map},
    sync::Arc,
    time::Duration,
};

use whisker_entity::{EntityName, QualifiedName};

use crate::{
    Config, Counts, End, Event, Key, Order, Reason, Refusal, Shape, SlotId, Ticket, Want,
    action::{Action, Stamp},
    claims::Claims,
    evict,
    keep::Keeping,
    prewarm::Stems,
    slot::{Slot, SlotEvent, SlotOrder},
};

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    pub(crate) shape: Shape,
    /// The action it belongs to, or that it starts for.
    pub(crate) key: Option<Arc<Key>>,
    /// When it became idle, or blank.
    pub(crate) stamp: Stamp,
    /// When the runs under way in it began, their initialisation over, oldest
    /// first. Which of them ends is not told, and need not be: taken in this
    /// order their times have the same sum.
    pub(crate) began: VecDeque<Duration>,
}

/// See the [crate].
#[derive(Debug)]
pub struct Pool<R> {
    config: Config,
    now: Duration,
    /// Numbers slots, tickets and stamps alike.
    next: u64,
    pub(crate) slots: HashMap<SlotId, Entry>,
    pub(crate) actions: HashMap<Arc<Key>, Action<R>>,
    /// The revision of each action that was asked for last, by environment:
    /// those differ from caller to caller and do not supersede each other.
    current: HashMap<(EntityName, QualifiedName, u64), Arc<Key>>,
    claims: Claims,
    pub(crate) stems: Stems,
    keeping: Keeping,
    /// Containers with code and nothing to do, paused or not, oldest first.
    pub(crate) idle: BTreeSet<(Stamp, SlotId)>,
    /// Those of them that are not paused.
    pub(crate) thawed: BTreeSet<(Stamp, SlotId)>,
    pub(crate) idle_mb: u64,
    pub(crate) stem_mb: u64,
    used_mb: u64,
    /// Memory of those being removed: still used, soon free.
    pub(crate) leaving_mb: u64,
    pub(crate) starting: usize,
    waiting: usize,
    /// Starts that failed in a row, and until when none is tried.
    failed_starts: u32,
    cool_until: Duration,
    pub(crate) refill_due: bool,
    closed: bool,
}

impl<R> Pool<R> {
    /// A pool without containers. Its first event orders the prewarmed ones.
    pub fn new(config: Config) -> Self {
        Self {
            stems: Stems::new(config.stems.clone(), config.learnt_stems_mb),
            keeping: Keeping::new(config.keep_policy, config.keep_warm),
            config,
            now: Duration::ZERO,
            next: 0,
            slots: HashMap::new(),
            actions: HashMap::new(),
            current: HashMap::new(),
            claims: Claims::default(),
            idle: BTreeSet::new(),
            thawed: BTreeSet::new(),
            idle_mb: 0,
            stem_mb: 0,
            used_mb: 0,
            leaving_mb: 0,
            starting: 0,
            waiting: 0,
            failed_starts: 0,
            cool_until: Duration::ZERO,
            refill_due: true,
            closed: false,
        }
    }

    /// Hears what happened `now` (since whatever beginning; a clock that runs
    /// backwards is taken to stand still) and says what is to be done, in
    /// this order.
    pub fn on(&mut self, now: Duration, event: Event<R>) -> Vec<Order<R>> {
        self.now = self.now.max(now);
        let mut orders = Vec::new();
        match event {
            Event::Arrived { run, want } => self.arrived(run, want, &mut orders),
            Event::Started(slot) => self.started(slot, &mut orders),
            Event::NotStarted { slot, hopeless } => self.not_started(slot, hopeless, &mut orders),
            Event::Initialised(slot) => {
                self.runs_only_now(slot);
                self.moved(slot, SlotEvent::Initialised, &mut orders);
            }
            Event::Resumed(slot) => {
                self.runs_only_now(slot);
                self.moved(slot, SlotEvent::Resumed, &mut orders);
            }
            Event::Paused(slot) => self.moved(slot, SlotEvent::Frozen, &mut orders),
            Event::Died(slot) => self.moved(slot, SlotEvent::Died, &mut orders),
            Event::Removed(slot) => self.moved(slot, SlotEvent::Removed, &mut orders),
            Event::Ended { slot, end } => {
                self.note_end(slot, end);
                let event = if end == End::Fit { SlotEvent::Finished } else { SlotEvent::Spoiled };
                self.moved(slot, event, &mut orders);
            }
            Event::Returned { slot, ticket } => self.returned(slot, ticket, &mut orders),
            Event::Tick => self.tick(&mut orders),
            Event::Close => self.close(&mut orders),
        }
        self.settle(&mut orders);
        orders
    }

    /// What it holds.
    pub fn counts(&self) -> Counts {
        Counts {
            memory_mb: self.used_mb,
            busy_mb: self.used_mb.saturating_sub(self.idle_mb + self.stem_mb + self.leaving_mb),
            containers: self.slots.len(),
            idle: self.idle.len(),
            prewarmed: self.stems.len(),
            waiting: self.waiting,
            actions: self.actions.len(),
        }
    }

    fn arrived(&mut self, run: R, want: Want, orders: &mut Vec<Order<R>>) {
        let ticket = Ticket { run, arrived: self.now, number: self.number(), failures: 0, want };
        let refusal = if self.closed {
            Some(Refusal::Closed)
        } else if u64::from(ticket.want.shape.memory_mb) > self.config.memory_mb {
            Some(Refusal::TooLarge)
        } else if self.waiting >= self.config.max_waiting {
            Some(Refusal::QueueFull)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return orders.push(Order::Refuse { ticket, refusal });
        }
        let key = ticket.want.key.clone();
        self.enqueue(ticket, orders);
        self.serve(&key, orders);
    }

    /// Adds a run to those that wait; its action is known from then on.
    fn enqueue(&mut self, ticket: Ticket<R>, orders: &mut Vec<Order<R>>) {
        let key = ticket.want.key.clone();
        self.waiting += 1;
        match self.actions.entry(key.clone()) {
            hash_map::Entry::Occupied(mut known) => {
                known.get_mut().put_back(ticket);
                if !known.get().outdated {
                    return;
                }
            }
            hash_map::Entry::Vacant(vacant) => {
                let action = Action::new(&ticket.want);
                vacant.insert(action).put_back(ticket);
            }
        }
        self.make_current(&key, orders);
    }

    /// A revision that was not asked for last time: the containers of the one
    /// that was will hardly be used again.
    fn make_current(&mut self, key: &Arc<Key>, orders: &mut Vec<Order<R>>) {
        if let Some(action) = self.actions.get_mut(key) {
            action.outdated = false;
        }
        let before = self.current.insert((key.namespace.clone(), key.action.clone(), key.environment), key.clone());
        let Some(before) = before.filter(|before| before != key) else { return };
        let Some(action) = self.actions.get_mut(&before) else { return };
        action.outdated = true;
        if action.waiting.is_empty() {
            let idle: Vec<SlotId> = action.idle.iter().map(|(_, slot)| *slot).collect();
            idle.into_iter().for_each(|slot| self.evict(slot, orders));
        }
    }

    fn started(&mut self, slot: SlotId, orders: &mut Vec<Order<R>>) {
        self.failed_starts = 0;
        self.step(slot, SlotEvent::Started, orders);
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        if entry.slot != Slot::Prewarmed {
            return;
        }
        // It is blank, whoever it was started for, and its action may have
        // been served by now.
        let key = entry.key.take();
        if self.closed {
            self.evict(slot, orders);
        }
        if let Some(key) = key {
            self.let_go(&key);
            self.adopt(slot, &key, Reason::Cold, orders);
            self.claim(&key);
            self.forget(&key);
        }
    }

    fn not_started(&mut self, slot: SlotId, hopeless: bool, orders: &mut Vec<Order<R>>) {
        let Some(entry) = self.slots.get(&slot) else { return };
        let (key, shape) = (entry.key.clone(), entry.shape.clone());
        self.step(slot, SlotEvent::NotStarted, orders);
        if !hopeless {
            let pause = self.config.retry * (1 << self.failed_starts.min(6));
            self.cool_until = self.now + pause;
            self.failed_starts = self.failed_starts.saturating_add(1);
        }
        let Some(key) = key else {
            if hopeless {
                self.stems.give_up(&shape);
            }
            return;
        };
        let Some(action) = self.actions.get_mut(&key) else { return };
        if let Some(first) = action.waiting.front_mut() {
            first.failures += 1;
        }
        let max_failures = if hopeless { 0 } else { self.config.max_failures };
        while action.waiting.front().is_some_and(|first| hopeless || first.failures >= max_failures) {
            if let Some(ticket) = action.waiting.pop_front() {
                self.waiting -= 1;
                orders.push(Order::Refuse { ticket, refusal: Refusal::NotStarted });
            }
        }
        self.claim(&key);
        self.forget(&key);
    }

    /// An event that concerns one slot, after which it may take a run.
    fn moved(&mut self, slot: SlotId, event: SlotEvent, orders: &mut Vec<Order<R>>) {
        let key = self.slots.get(&slot).and_then(|entry| entry.key.clone());
        self.step(slot, event, orders);
        let Some(key) = key else { return };
        let Some(action) = self.actions.get(&key) else { return };
        let waits = !action.waiting.is_empty();
        if !waits && (action.outdated || self.closed) {
            self.evict(slot, orders);
        }
        if waits {
            self.serve(&key, orders);
            self.settle(orders);
            // Where these containers gave way to others, some may be left.
            self.serve(&key, orders);
        }
        self.forget(&key);
    }

    fn returned(&mut self, slot: SlotId, mut ticket: Ticket<R>, orders: &mut Vec<Order<R>>) {
        self.step(slot, SlotEvent::Returned, orders);
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.began.pop_back();
        }
        ticket.failures += 1;
        let refusal = if self.closed {
            Some(Refusal::Closed)
        } else if ticket.failures >= self.config.max_failures {
            Some(Refusal::NotStarted)
        } else {
            None
        };
        let key = ticket.want.key.clone();
        match refusal {
            Some(refusal) => orders.push(Order::Refuse { ticket, refusal }),
            // It had its place already, so the bound does not concern it.
            None => {
                self.enqueue(ticket, orders);
                self.serve(&key, orders);
            }
        }
        self.forget(&key);
    }

    fn tick(&mut self, orders: &mut Vec<Order<R>>) {
        self.refill_due = true;
        let now = self.now;
        self.stems.lapse(now);
        let shortest = self.keeping.shortest();
        let idle = self.idle.iter().take_while(|((since, _), _)| *since + shortest <= now);
        let is_over = |(since, slot): (Duration, SlotId)| {
            let key = self.slots.get(&slot).and_then(|entry| entry.key.as_deref());
            (since + self.keeping.time(key) <= now).then_some(slot)
        };
        let over: Vec<SlotId> = idle.map(|((since, _), slot)| (*since, *slot)).filter_map(is_over).collect();
        over.into_iter().for_each(|slot| self.evict(slot, orders));
        let keep_warm = self.config.keep_warm;
        let old: Vec<SlotId> =
            self.stems.by_age().take_while(|((since, _), _)| *since + keep_warm <= now).map(|(_, slot)| slot).collect();
        for slot in old {
            if self.slots.get(&slot).is_some_and(|entry| self.stems.surplus(&entry.shape) > 0) {
                self.evict(slot, orders);
            }
        }
        // Runs that were to be served soon may have waited long enough.
        let waiting: Vec<Arc<Key>> =
            self.actions.iter().filter(|(_, action)| !action.waiting.is_empty()).map(|(key, _)| key.clone()).collect();
        waiting.iter().for_each(|key| self.claim(key));
        let Some(grace) = self.config.pause_grace else { return };
        while let Some((_, slot)) = self.thawed.first().filter(|((since, _), _)| *since + grace <= now) {
            self.step(*slot, SlotEvent::Quiet, orders);
        }
    }

    fn close(&mut self, orders: &mut Vec<Order<R>>) {
        self.closed = true;
        while self.claims.pop().is_some() {}
        for action in self.actions.values_mut() {
            action.claims = false;
            self.waiting -= action.waiting.len();
            let refused = action.waiting.drain(..);
            orders.extend(refused.map(|ticket| Order::Refuse { ticket, refusal: Refusal::Closed }));
        }
        let keys: Vec<Arc<Key>> = self.actions.keys().cloned().collect();
        keys.iter().for_each(|key| self.forget(key));
        let idle = self.idle.iter().map(|(_, slot)| *slot);
        let all: Vec<SlotId> = idle.chain(self.stems.by_age().map(|(_, slot)| slot)).collect();
        all.into_iter().for_each(|slot| self.evict(slot, orders));
    }

    /// Gives waiting runs to the action's containers, as far as these go.
    fn serve(&mut self, key: &Arc<Key>, orders: &mut Vec<Order<R>>) {
        let mut served = false;
        while !self.gives_way(key) {
            let Some(action) = self.actions.get_mut(key) else { return };
            let idle = || action.idle.last().map(|(_, slot)| slot);
            let Some(&slot) = action.open.first().or_else(idle) else { break };
            let Some(ticket) = action.waiting.pop_front() else { break };
            if !self.give(slot, ticket, Reason::Warm, orders) {
                break;
            }
            served = true;
        }
        if served && self.claims.first() == Some(key) {
            // That was its turn: the next container is another's.
            self.turn_over();
        }
        self.claim(key);
    }

    /// Whether this action's containers are needed for runs that have waited
    /// long enough: then its own wait until there is memory for those.
    fn gives_way(&self, key: &Arc<Key>) -> bool {
        let Some(first) = self.claims.first().filter(|first| *first != key) else { return false };
        let Some(action) = self.actions.get(first) else { return false };
        let Some(oldest) = action.waiting.front() else { return false };
        oldest.arrived + self.config.patience <= self.now
            && self.free_mb() + self.leaving_mb < u64::from(action.shape.memory_mb)
    }

    /// Gives one run, taken from its queue, to a slot. The run is back in the
    /// queue if the slot will not have it.
    fn give(&mut self, slot: SlotId, ticket: Ticket<R>, reason: Reason, orders: &mut Vec<Order<R>>) -> bool {
        let reason = match self.step(slot, SlotEvent::Given, orders) {
            SlotOrder::Run => Reason::Warm,
            SlotOrder::ResumeThenRun => Reason::Paused,
            SlotOrder::InitThenRun => reason,
            SlotOrder::Nothing
            | SlotOrder::Offer
            | SlotOrder::Requeue
            | SlotOrder::Pause
            | SlotOrder::Remove
            | SlotOrder::Free => {
                if let Some(action) = self.actions.get_mut(&ticket.want.key) {
                    action.put_back(ticket);
                }
                return false;
            }
        };
        self.waiting -= 1;
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.began.push_back(self.now);
        }
        orders.push(Order::Run { slot, ticket, reason });
        true
    }

    /// The one run in this slot begins only now: it had to wait for its
    /// container.
    fn runs_only_now(&mut self, slot: SlotId) {
        if let Some(begun) = self.slots.get_mut(&slot).and_then(|entry| entry.began.back_mut()) {
            *begun = self.now;
        }
    }

    /// Learns from a run that ended how long its action's runs take.
    fn note_end(&mut self, slot: SlotId, end: End) {
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        let Some(began) = entry.began.pop_front() else { return };
        let action = entry.key.as_ref().and_then(|key| self.actions.get_mut(key));
        if let Some(action) = action.filter(|_| end == End::Fit) {
            action.took(self.now.saturating_sub(began));
        }
    }

    /// Lets an action have a blank container, if it has a run for it.
    fn adopt(&mut self, slot: SlotId, key: &Arc<Key>, reason: Reason, orders: &mut Vec<Order<R>>) {
        let Some(action) = self.actions.get_mut(key) else { return };
        let Some(entry) = self.slots.get_mut(&slot).filter(|entry| entry.slot == Slot::Prewarmed) else { return };
        let Some(ticket) = action.waiting.pop_front() else { return };
        action.slots += 1;
        entry.key = Some(key.clone());
        self.stems.taken(&entry.shape, self.now);
        self.give(slot, ticket, reason, orders);
    }

    /// Lets an action stand in line if more containers are needed for it than
    /// are on their way.
    fn claim(&mut self, key: &Arc<Key>) {
        if self.closed {
            return;
        }
        let (now, config) = (self.now, &self.config);
        let is_short = |action: &&mut Action<R>| !action.claims && action.is_short(now, config);
        if let Some(action) = self.actions.get_mut(key).filter(is_short) {
            action.claims = true;
            self.claims.push(key.clone());
        }
    }

    /// Takes whose turn it was out of the line; to its end, if it needs more.
    fn turn_over(&mut self) {
        let Some(key) = self.claims.pop() else { return };
        if let Some(action) = self.actions.get_mut(&key) {
            action.claims = false;
        }
        self.claim(&key);
        self.forget(&key);
    }

    /// Gets containers for those who stand in line, as far as memory goes.
    ///
    /// Who is first and finds no memory holds up the others: else a large one
    /// would wait for ever while small ones take each bit that becomes free.
    fn settle(&mut self, orders: &mut Vec<Order<R>>) {
        while let Some(key) = self.claims.first().cloned() {
            let is_short = |action: &&Action<R>| action.is_short(self.now, &self.config);
            let Some(action) = self.actions.get(&key).filter(is_short) else {
                self.turn_over();
                continue;
            };
            if !action.open.is_empty() || !action.idle.is_empty() {
                self.serve(&key, orders);
                continue;
            }
            if let Some(stem) = self.stems.oldest(&action.shape) {
                self.adopt(stem, &key, Reason::Prewarmed, orders);
                self.turn_over();
                continue;
            }
            if !self.may_start() {
                break;
            }
            let shape = action.shape.clone();
            if self.free_mb() < u64::from(shape.memory_mb) {
                self.make_room(orders);
                break;
            }
            self.start(shape, Some(key), orders);
            self.turn_over();
        }
        self.refill(orders);
    }

    /// Removes idle containers until there will be memory for those who stand
    /// in line, as many as may start at once: a removal takes as long as a
    /// start, and one after the other they would be what everyone waits for.
    fn make_room(&mut self, orders: &mut Vec<Order<R>>) {
        let soon_mb = self.free_mb() + self.leaving_mb;
        let most_mb = soon_mb + self.idle_mb + self.stem_mb;
        let starts = self.config.max_starts.saturating_sub(self.starting);
        let mut need_mb = 0;
        for key in self.claims.next(starts) {
            let more_mb = self.actions.get(key).map_or(0, |action| u64::from(action.shape.memory_mb));
            if need_mb + more_mb > most_mb {
                break;
            }
            need_mb += more_mb;
        }
        let missing_mb = need_mb.saturating_sub(soon_mb);
        if missing_mb == 0 {
            return;
        }
        let candidates = self.idle.iter().copied().chain(self.stems.by_age());
        let with_memory =
            candidates.filter_map(|(_, slot)| self.slots.get(&slot).map(|entry| (slot, entry.shape.memory_mb)));
        let chosen = evict::choose(with_memory, missing_mb).unwrap_or_default();
        chosen.into_iter().for_each(|slot| self.evict(slot, orders));
    }

    /// Orders the blank containers that are missing, out of memory that
    /// nobody waits for.
    fn refill(&mut self, orders: &mut Vec<Order<R>>) {
        if !self.refill_due || self.closed || !self.claims.is_empty() || !self.may_start() {
            return;
        }
        self.refill_due = false;
        let missing: Vec<Shape> = self.stems.missing().take(self.config.max_starts).cloned().collect();
        for shape in missing {
            if self.free_mb() >= u64::from(shape.memory_mb) && self.may_start() {
                self.start(shape, None, orders);
            }
        }
    }

    fn may_start(&self) -> bool {
        self.starting < self.config.max_starts && self.now >= self.cool_until && !self.closed
    }

    fn free_mb(&self) -> u64 {
        self.config.memory_mb.saturating_sub(self.used_mb)
    }

    fn start(&mut self, shape: Shape, key: Option<Arc<Key>>, orders: &mut Vec<Order<R>>) {
        let slot = SlotId(self.number());
        self.used_mb += u64::from(shape.memory_mb);
        if let Some(action) = key.as_ref().and_then(|key| self.actions.get_mut(key)) {
            action.slots += 1;
        }
        let (stamp, began) = ((self.now, slot.0), VecDeque::new());
        let entry = Entry { slot: Slot::Starting, shape: shape.clone(), key, stamp, began };
        self.slots.insert(slot, entry);
        self.list(slot);
        orders.push(Order::Start { slot, shape });
    }

    fn evict(&mut self, slot: SlotId, orders: &mut Vec<Order<R>>) {
        self.step(slot, SlotEvent::Evicted, orders);
    }

    /// Moves one slot on, keeps every list in step with it, and passes its
    /// order on, where it has one that needs no run.
    fn step(&mut self, id: SlotId, event: SlotEvent, orders: &mut Vec<Order<R>>) -> SlotOrder {
        let Some(entry) = self.slots.get(&id) else { return Slot::Gone.on(event).1 };
        let before = entry.slot;
        let (after, order) = before.on(event);
        if after != before {
            self.unlist(id);
            let stamp = (self.now, self.number());
            if let Some(entry) = self.slots.get_mut(&id) {
                entry.slot = after;
                if matches!(after, Slot::Idle | Slot::Prewarmed) {
                    entry.stamp = stamp;
                }
                if let Some(key) = &entry.key {
                    match (before, after) {
                        (
                            Slot::Idle | Slot::Paused | Slot::Prewarmed,
                            Slot::Busy { .. } | Slot::Resuming | Slot::Warming,
                        ) => {
                            self.keeping.needed(key, self.now);
                        }
                        (_, Slot::Idle) => self.keeping.idle(key, self.now),
                        _ => {}
                    }
                }
            }
            self.list(id);
        }
        match order {
            SlotOrder::Pause => orders.push(Order::Pause(id)),
            SlotOrder::Remove => orders.push(Order::Remove(id)),
            SlotOrder::Free => self.free(id),
            SlotOrder::Nothing
            | SlotOrder::Offer
            | SlotOrder::Run
            | SlotOrder::InitThenRun
            | SlotOrder::ResumeThenRun
            | SlotOrder::Requeue => {}
        }
        order
    }

    /// Forgets a container that is gone.
    fn free(&mut self, id: SlotId) {
        let Some(entry) = self.slots.remove(&id) else { return };
        self.used_mb -= u64::from(entry.shape.memory_mb);
        self.refill_due = true;
        if let Some(key) = entry.key {
            self.let_go(&key);
            self.forget(&key);
        }
    }

    fn let_go(&mut self, key: &Arc<Key>) {
        if let Some(action) = self.actions.get_mut(key) {
            action.slots -= 1;
        }
    }

    /// Forgets an action of which nothing is left: there may be any number of
    /// them in the life of an invoker.
    fn forget(&mut self, key: &Arc<Key>) {
        let is_over = |action: &Action<R>| action.slots == 0 && action.waiting.is_empty() && !action.claims;
        if !self.actions.get(key).is_some_and(is_over) {
            return;
        }
        self.actions.remove(key);
        if let hash_map::Entry::Occupied(current) =
            self.current.entry((key.namespace.clone(), key.action.clone(), key.environment))
            && current.get() == key
        {
            current.remove();
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
