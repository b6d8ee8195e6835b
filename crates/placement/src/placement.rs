//! The whole of it: books, watches and the chosen policy behind one value.

use std::time::Duration;

use whisker_entity::ActivationId;

use crate::{
    Config, Counts, End, Event, Health, Invoker, Member, Order, Placed, Policy, Refusal, Want, bounded,
    fleet::{Fleet, Memory},
    health::Sign,
    ledger::Ledger,
    sharding,
    warm::Uses,
};

/// How many times [`Config::offline_after`] the silence of all invokers at once is
/// not taken for their end.
const SILENT_TOGETHER: u32 = 3;

/// See the [crate].
#[derive(Debug)]
pub struct Placement {
    config: Config,
    now: Duration,
    /// When time went by last; `None` before the first time.
    ticked: Option<Duration>,
    /// When any invoker pinged last.
    pinged: Duration,
    fleet: Fleet,
    uses: Uses,
    ledger: Ledger,
}

impl Placement {
    /// One that knows no invokers.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: Duration::ZERO,
            ticked: None,
            pinged: Duration::ZERO,
            fleet: Fleet::new(),
            uses: Uses::default(),
            ledger: Ledger::default(),
        }
    }

    /// Chooses an invoker for an activation and books what it needs, until it
    /// [ended](Event::Ended), was [withdrawn](Event::Withdrawn) or
    /// [expired](Order::Expired). One that is booked already stays where it is.
    ///
    /// `dice` is any random number; it is used when nobody has room.
    pub fn book(&mut self, now: Duration, activation: ActivationId, want: &Want, dice: u64) -> Result<Placed, Refusal> {
        self.now = self.now.max(now);
        if let Some(booking) = self.ledger.get(activation) {
            return Ok(Placed { invoker: name(booking.invoker), forced: false, warm: false });
        }
        if self.ledger.len() >= self.config.max_in_flight {
            return Err(Refusal::Full(self.ledger.len()));
        }
        let action = self.uses.number(&want.action);
        let chosen = self.uses.get(action).and_then(|what| match self.config.policy {
            Policy::Sharding => sharding::choose(&self.fleet, what, dice),
            Policy::Bounded => bounded::choose(&self.fleet, what, &self.config, dice),
        });
        let Some((invoker, forced)) = chosen else {
            self.uses.tidy(action);
            return Err(Refusal::NoInvokers);
        };
        let warm = self.uses.begin(&mut self.fleet, action, invoker);
        let deadline = self.now.saturating_add(self.config.completion_timeout(want.time_limit));
        self.ledger.enter(activation, action, invoker, deadline);
        Ok(Placed { invoker: name(invoker), forced, warm })
    }

    /// Hears what happened `now` (since whatever beginning; a clock that runs
    /// backwards is taken to stand still) and says what is to be done, in this
    /// order.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Order> {
        self.now = self.now.max(now);
        let mut orders = Vec::new();
        match event {
            Event::Ping { invoker, memory_mb, busy_mb, enabled, life } => {
                self.pinged(invoker, Memory { memory_mb, busy_mb }, enabled, life, &mut orders);
            }
            Event::Ended { activation, invoker, end } => self.ended(activation, invoker, end, &mut orders),
            Event::Tested { invoker, end } => self.judge(invoker, end, &mut orders),
            Event::Withdrawn(activation) => {
                if let Some((action, _)) = self.release(activation) {
                    self.uses.tidy(action);
                }
            }
            Event::Controllers(count) => self.fleet.divide(count, &self.config),
            Event::Tick => self.tick(&mut orders),
        }
        orders
    }

    /// The invokers, in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.fleet.seats.iter().enumerate().map(|(number, seat)| Member {
            invoker: name(number),
            health: seat.watch.state(),
            memory_mb: seat.memory.memory_mb,
            share_mb: u64::try_from(seat.share_mb).unwrap_or(0),
            booked_mb: u64::try_from(seat.booked_mb).unwrap_or(0),
        })
    }

    /// Where an activation is booked, as long as it is.
    pub fn booked(&self, activation: ActivationId) -> Option<Invoker> {
        self.ledger.get(activation).map(|booking| name(booking.invoker))
    }

    /// What it holds.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            in_flight: self.ledger.len(),
            actions: self.uses.len(),
            healthy_mb: u64::try_from(self.fleet.share_mb).unwrap_or(0),
            ..Counts::default()
        };
        for member in self.members() {
            counts.booked_mb += member.booked_mb;
            match member.health {
                Health::Healthy => counts.healthy += 1,
                Health::Unhealthy => counts.unhealthy += 1,
                Health::Unresponsive => counts.unresponsive += 1,
                Health::Offline => counts.offline += 1,
            }
        }
        counts
    }

    fn pinged(&mut self, invoker: Invoker, memory: Memory, enabled: bool, life: u64, orders: &mut Vec<Order>) {
        if invoker.0 >= self.config.max_invokers {
            return orders.push(Order::Beyond(invoker));
        }
        self.pinged = self.now;
        let number = invoker.0 as usize;
        self.fleet.extend_to(number, &self.config);
        let seat = &mut self.fleet.seats[number];
        let joined = !std::mem::replace(&mut seat.known, true);
        if joined {
            seat.life = life;
        } else if seat.life != life {
            // One that was replaced pings again: both live.
            if seat.former == life && life != 0 {
                orders.push(Order::Twins(invoker));
            }
            seat.former = std::mem::replace(&mut seat.life, life);
            self.forget_idle(number);
        }
        self.fleet.resize(number, memory, &self.config);
        self.hear(number, Sign::Ping { enabled }, joined, orders);
    }

    fn ended(&mut self, activation: ActivationId, ran_at: Invoker, end: End, orders: &mut Vec<Order>) {
        // Of one that expired its invoker was blamed already; of one that
        // another life of this controller sent, nothing is known.
        let Some((action, sent_to)) = self.release(activation) else { return };
        // Where it ran there is a warm container now.
        let number = ran_at.0 as usize;
        if end == End::Success && (sent_to.frees || sent_to.invoker != number) && self.fleet.is_usable(number) {
            self.uses.note_idle(&mut self.fleet, action, number, self.now);
        }
        self.uses.tidy(action);
        self.judge(ran_at, end, orders);
    }

    /// An invoker did its part of a run, or did not.
    fn judge(&mut self, invoker: Invoker, end: End, orders: &mut Vec<Order>) {
        let number = invoker.0 as usize;
        if number < self.fleet.seats.len() {
            self.hear(number, Sign::Ended(end), false, orders);
        }
    }

    fn tick(&mut self, orders: &mut Vec<Order>) {
        self.wake();
        for number in 0..self.fleet.seats.len() {
            self.hear(number, Sign::Tick, false, orders);
            self.expire_idle(number);
        }
        while let Some(activation) = self.ledger.overdue(self.now) {
            let Some((action, sent_to)) = self.release(activation) else { break };
            self.uses.tidy(action);
            let invoker = name(sent_to.invoker);
            orders.push(Order::Expired { activation, invoker });
            self.judge(invoker, End::Timeout, orders);
        }
    }

    /// Whoever slept heard nobody, which says nothing about them: a controller
    /// whose machine was suspended would else give up all invokers at once. A
    /// long sleep counts as a moment, and not as nothing, so that one that
    /// sleeps all the time gives up who is silent nevertheless.
    ///
    /// Nor does it say anything if several fall silent at once: it is rather the
    /// bus that brings no pings, while it may take activations all the same. That
    /// is believed for a while; what is sent to the dead is not lost meanwhile.
    fn wake(&mut self) {
        let passed = self.ticked.replace(self.now).map_or(Duration::ZERO, |ticked| self.now - ticked);
        let Config { offline_after, .. } = self.config;
        let silence = self.now - self.pinged;
        let skipped = if passed > offline_after / 2 {
            passed - offline_after / 10
        } else if silence > offline_after / 2 && silence <= offline_after * SILENT_TOGETHER && self.counts().healthy > 1
        {
            passed
        } else {
            return;
        };
        for seat in &mut self.fleet.seats {
            seat.watch.skip(skipped, self.now);
        }
    }

    fn hear(&mut self, number: usize, sign: Sign, joined: bool, orders: &mut Vec<Order>) {
        let (from, to, test) = self.fleet.hear(number, self.now, sign, &self.config);
        let invoker = name(number);
        if joined || from != to {
            orders.push(Order::Changed { invoker, from: (!joined).then_some(from), to });
        }
        if to == Health::Offline && from != to {
            self.forget_idle(number);
        }
        if test {
            orders.push(Order::Test(invoker));
        }
    }

    /// Gives back what is booked for an activation, if anything is.
    fn release(&mut self, activation: ActivationId) -> Option<(usize, Freed)> {
        let booking = self.ledger.strike(activation)?;
        let frees = self.uses.end(&mut self.fleet, booking.action, booking.invoker);
        Some((booking.action, Freed { invoker: booking.invoker, frees }))
    }

    fn forget_idle(&mut self, number: usize) {
        while let Some((&stamp, _)) = self.fleet.seats[number].idle.first_key_value() {
            self.uses.forget(&mut self.fleet, number, stamp);
        }
    }

    fn expire_idle(&mut self, number: usize) {
        while let Some((&stamp, idle)) = self.fleet.seats[number].idle.first_key_value()
            && idle.since.saturating_add(self.config.keep_warm) <= self.now
        {
            self.uses.forget(&mut self.fleet, number, stamp);
        }
    }
}

/// Where memory was given back.
struct Freed {
    invoker: usize,
    /// Whether a container is not busy any more.
    frees: bool,
}

fn name(number: usize) -> Invoker {
    Invoker(u32::try_from(number).unwrap_or(u32::MAX))
}
