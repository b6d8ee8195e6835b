//! Random lives of a placement: invokers join, fail, leave, return and grow;
//! runs are booked, end well or badly, late or never. Whatever happens, only
//! healthy invokers are chosen, memory is what the bookings say and never
//! overdrawn but by force, force is used only where nobody has room, and once
//! all is over nothing is left.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use common::*;
use proptest::prelude::*;
use whisker_placement::{Config, End, Event, Health, Invoker, Order, Placement, Policy, Refusal, Want};

const INVOKERS: u32 = 12;

#[derive(Debug, Clone)]
enum Step {
    Book { action: u8, dice: u64 },
    End { which: usize, elsewhere: bool, end: u8 },
    EndAgain { which: usize },
    Withdraw { which: usize },
    Ping { invoker: u32, memory_mb: u64, busy_mb: Option<u64>, enabled: bool, life: u64 },
    Tested { invoker: u32, end: u8 },
    Controllers { count: u32 },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>();
    prop_oneof![
        10 => (0..6u8, any::<u64>()).prop_map(|(action, dice)| Step::Book { action, dice }),
        6 => (which, prop::bool::weighted(0.1), 0..8u8)
            .prop_map(|(which, elsewhere, end)| Step::End { which, elsewhere, end }),
        1 => which.prop_map(|which| Step::EndAgain { which }),
        1 => which.prop_map(|which| Step::Withdraw { which }),
        8 => (0..INVOKERS, prop_oneof![8 => Just(1024u64), 1 => 0..2048u64], prop::option::of(0..2048u64), prop::bool::weighted(0.95),
              prop_oneof![9 => Just(1u64), 1 => 0..3u64])
            .prop_map(|(invoker, memory_mb, busy_mb, enabled, life)| Step::Ping { invoker, memory_mb, busy_mb, enabled, life }),
        6 => (0..INVOKERS + 1, 0..10u8).prop_map(|(invoker, end)| Step::Tested { invoker, end }),
        1 => (0..4u32).prop_map(|count| Step::Controllers { count }),
        4 => (0..8_000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn end_of(number: u8) -> End {
    match number {
        0 => End::SystemError,
        1 => End::Timeout,
        _ => End::Success,
    }
}

/// Actions 2 and 3 are concurrent, 4 is large, 5 a black box.
fn wanted(action: u8) -> Want {
    let memory_mb = if action == 4 { 1024 } else { 128 * (1 + u32::from(action % 3)) };
    let concurrency = if (2..4).contains(&action) { 3 } else { 1 };
    let want = want("anna", &format!("anna/a{action}"), memory_mb, concurrency);
    if action == 5 { blackbox(&want) } else { want }
}

struct Booked {
    action: u8,
    invoker: u32,
    at: Duration,
}

struct World {
    placement: Placement,
    now: Duration,
    booked: BTreeMap<u64, Booked>,
    over: BTreeSet<u64>,
    next: u64,
}

impl World {
    fn new(policy: Policy) -> World {
        let config = Config { policy, max_in_flight: 40, ..Config::default() };
        World {
            placement: Placement::new(config),
            now: Duration::ZERO,
            booked: BTreeMap::new(),
            over: BTreeSet::new(),
            next: 0,
        }
    }

    fn step(&mut self, step: Step) {
        let nth = |from: &BTreeMap<u64, Booked>, which: usize| from.keys().nth(which % from.len().max(1)).copied();
        match step {
            Step::Book { action, dice } => self.book(action, dice),
            Step::End { which, elsewhere, end } => {
                let Some(number) = nth(&self.booked, which) else { return };
                let booked = self.booked.remove(&number).unwrap();
                self.over.insert(number);
                let invoker = Invoker(if elsewhere { (booked.invoker + 1) % INVOKERS } else { booked.invoker });
                self.on(Event::Ended { activation: id(number), invoker, end: end_of(end) });
            }
            Step::EndAgain { which } => {
                let Some(number) = self.over.iter().nth(which % self.over.len().max(1)).copied() else { return };
                let before: Vec<_> = self.placement.members().collect();
                let ended = Event::Ended { activation: id(number), invoker: Invoker(0), end: End::SystemError };
                assert_eq!(self.placement.on(self.now, ended), []);
                self.placement.on(self.now, Event::Withdrawn(id(number)));
                assert_eq!(before, self.placement.members().collect::<Vec<_>>(), "what is over changes nothing");
            }
            Step::Withdraw { which } => {
                let Some(number) = nth(&self.booked, which) else { return };
                self.booked.remove(&number);
                self.over.insert(number);
                self.on(Event::Withdrawn(id(number)));
            }
            Step::Ping { invoker, memory_mb, busy_mb, enabled, life } => {
                self.on(Event::Ping { invoker: Invoker(invoker), memory_mb, busy_mb, enabled, life });
            }
            Step::Tested { invoker, end } => self.on(Event::Tested { invoker: Invoker(invoker), end: end_of(end) }),
            Step::Controllers { count } => self.on(Event::Controllers(count)),
            Step::Wait { ms } => {
                let until = self.now + Duration::from_millis(ms);
                while self.now < until {
                    self.now = (self.now + SECOND).min(until);
                    self.on(Event::Tick);
                }
            }
        }
        self.check();
    }

    fn book(&mut self, action: u8, dice: u64) {
        let before: Vec<_> = self.placement.members().collect();
        let counts = self.placement.counts();
        let want = wanted(action);
        let number = self.next;
        self.next += 1;
        let all = before.len();
        let managed = (all as f64 * 0.9).ceil() as usize;
        let mine = if want.action.blackbox { all.saturating_sub(1)..all } else { 0..managed };
        let usable: Vec<_> = before[mine].iter().filter(|member| member.health == Health::Healthy).collect();
        match self.placement.book(self.now, id(number), &want, dice) {
            Err(Refusal::Full(_)) => assert_eq!(self.booked.len(), 40),
            Err(Refusal::NoInvokers) => {
                assert!(usable.is_empty());
                assert_eq!(counts, self.placement.counts(), "what was refused left nothing");
            }
            Ok(placed) => {
                let member = usable.iter().find(|member| member.invoker == placed.invoker);
                let member = member.expect("only healthy ones that may take it are chosen");
                let room = |member: &whisker_placement::Member| member.share_mb as i64 - member.booked_mb as i64;
                let cost = i64::from(want.action.memory_mb);
                let joins = !self.runs(placed.invoker.0, action).is_multiple_of(want.action.concurrency as usize);
                if placed.forced {
                    assert!(usable.iter().all(|member| room(member) < cost), "someone has room: {usable:?}");
                } else {
                    assert!(joins || room(member) >= cost, "it has no room: {member:?}");
                }
                self.booked.insert(number, Booked { action, invoker: placed.invoker.0, at: self.now });
                // Twice is once.
                let again = self.placement.book(self.now, id(number), &want, !dice).unwrap();
                assert_eq!(again.invoker, placed.invoker);
            }
        }
    }

    fn runs(&self, invoker: u32, action: u8) -> usize {
        self.booked.values().filter(|booked| booked.invoker == invoker && booked.action == action).count()
    }

    fn on(&mut self, event: Event) {
        for order in self.placement.on(self.now, event) {
            if let Order::Expired { activation, invoker } = order {
                let number = u64::try_from(u128::from_be_bytes(activation.to_bytes())).unwrap();
                let booked = self.booked.remove(&number).expect("only what is under way expires, and once");
                assert_eq!(booked.invoker, invoker.0);
                assert!(self.now >= booked.at + Duration::from_secs(180), "twice its limit and a minute");
                self.over.insert(number);
            }
        }
    }

    fn check(&self) {
        for member in self.placement.members() {
            let expected: u64 = (0..6)
                .map(|action| {
                    let want = wanted(action);
                    let containers = self.runs(member.invoker.0, action).div_ceil(want.action.concurrency as usize);
                    containers as u64 * u64::from(want.action.memory_mb)
                })
                .sum();
            assert_eq!(member.booked_mb, expected, "{member:?}");
        }
        let counts = self.placement.counts();
        assert_eq!(counts.in_flight, self.booked.len());
        let healthy = self.placement.members().filter(|member| member.health == Health::Healthy);
        assert_eq!(counts.healthy_mb, healthy.map(|member| member.share_mb).sum::<u64>());
    }

    /// Time passes until everything was given up.
    fn finish(mut self) {
        for _ in 0..600 {
            self.now += SECOND;
            self.on(Event::Tick);
        }
        self.check();
        assert!(self.booked.is_empty(), "every completion that does not come is given up");
        let counts = self.placement.counts();
        assert_eq!((counts.in_flight, counts.actions, counts.booked_mb, counts.healthy), (0, 0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn lives(bounded in any::<bool>(), steps in prop::collection::vec(step(), 0..200)) {
        let mut world = World::new(if bounded { Policy::Bounded } else { Policy::Sharding });
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}

proptest! {
    /// Whatever several controllers book and end: as long as each has heard what
    /// runs take, they never book more together than an invoker has.
    #[test]
    fn who_hears_of_others_takes_nothing_of_theirs(
        steps in prop::collection::vec((0..3usize, 0..3u8, any::<prop::sample::Index>(), 0..3u8), 1..200),
    ) {
        let mut all: Vec<_> = (0..3).map(|_| fleet(Policy::Bounded, 3, 1024)).collect();
        let now = Duration::ZERO;
        all.iter_mut().for_each(|placement| drop(placement.on(now, Event::Controllers(3))));
        // Which, whose, where, how much, and whether it was forced.
        let mut under_way: Vec<(u64, usize, Invoker, u64, bool)> = Vec::new();
        for (number, (mine, action, which, ends)) in steps.into_iter().enumerate() {
            if ends == 0 && !under_way.is_empty() {
                let (number, mine, invoker, ..) = under_way.swap_remove(which.index(under_way.len()));
                all[mine].on(now, Event::Ended { activation: id(number), invoker, end: End::Success });
            } else {
                let want = want("anna", &format!("anna/a{action}"), 128 << action, 1);
                let placed = all[mine].book(now, id(number as u64), &want, 0).unwrap();
                let memory_mb = u64::from(want.action.memory_mb);
                under_way.push((number as u64, mine, placed.invoker, memory_mb, placed.forced));
            }
            for invoker in (0..3).map(Invoker) {
                let here = || under_way.iter().filter(|(_, _, at, ..)| *at == invoker);
                let busy_mb: u64 = here().map(|(_, _, _, memory_mb, _)| memory_mb).sum();
                prop_assert!(busy_mb <= 1024 || here().any(|(.., forced)| *forced), "{under_way:?}");
                let ping = Event::Ping { invoker, memory_mb: 1024, busy_mb: Some(busy_mb), enabled: true, life: 1 };
                all.iter_mut().for_each(|placement| drop(placement.on(now, ping.clone())));
            }
        }
    }
}

#[test]
fn numbers_beyond_the_bound_are_ignored() {
    let mut placement = Placement::new(Config::default());
    for invoker in [10_000, u32::MAX] {
        assert_eq!(placement.on(Duration::ZERO, ping(invoker, 1024)), [Order::Beyond(Invoker(invoker))]);
    }
    assert_eq!(placement.members().count(), 0);
}

#[test]
fn two_that_ping_under_one_number_are_noticed() {
    let mut placement = Placement::new(Config::default());
    let ping = |life| Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb: None, enabled: true, life };
    let mut twins = |life| placement.on(Duration::ZERO, ping(life)).contains(&Order::Twins(Invoker(0)));
    assert!(!twins(1) && !twins(1) && !twins(2), "a restart is none");
    assert!(twins(1), "who was replaced is still there");
    assert!(twins(2) && !twins(2));
    assert!(!twins(3));
}

#[test]
fn a_controller_that_slept_blames_nobody() {
    let mut placement = fleet(Policy::Bounded, 3, 1024);
    let mut now = Duration::ZERO;
    for _ in 0..5 {
        now += SECOND;
        placement.on(now, Event::Tick);
    }
    now += Duration::from_secs(3600);
    placement.on(now, Event::Tick);
    assert_eq!(placement.counts().healthy, 3);
    for _ in 0..10 {
        now += SECOND;
        placement.on(now, ping(0, 1024));
        placement.on(now, Event::Tick);
    }
    assert_eq!(placement.counts().offline, 2, "but whoever is silent from then on goes");
}

#[test]
fn silence_of_all_at_once_is_the_bus_for_a_while() {
    let silent_for = |seconds: u32, invokers: u32| {
        let mut placement = fleet(Policy::Bounded, invokers, 1024);
        (1..=seconds).for_each(|second| drop(placement.on(SECOND * second, Event::Tick)));
        placement
    };
    assert_eq!(silent_for(10, 1).counts().offline, 1, "one alone is believed to be gone");
    assert_eq!(silent_for(34, 3).counts().healthy, 3);
    assert_eq!(silent_for(35, 3).counts().offline, 3);

    let mut placement = silent_for(25, 3);
    for second in 26..=29 {
        (0..2).for_each(|number| drop(placement.on(SECOND * second, ping(number, 1024))));
        placement.on(SECOND * second, Event::Tick);
    }
    assert_eq!(placement.counts().healthy, 3, "it has the rest of its time to ping as well");
    placement.on(SECOND * 30, ping(0, 1024));
    placement.on(SECOND * 30, Event::Tick);
    assert_eq!((placement.counts().healthy, placement.counts().offline), (2, 1));
}

#[test]
fn a_controller_that_sleeps_all_the_time_gives_up_who_is_silent() {
    let mut placement = fleet(Policy::Bounded, 3, 1024);
    for minute in 1..=11 {
        placement.on(SECOND * 60 * minute, ping(0, 1024));
        placement.on(SECOND * 60 * minute, Event::Tick);
    }
    assert_eq!((placement.counts().healthy, placement.counts().offline), (1, 2));
}

#[test]
fn completion_timeouts_are_openwhisks() {
    let timeout = |seconds| Config::default().completion_timeout(Duration::from_secs(seconds)).as_secs();
    assert_eq!([timeout(1), timeout(60), timeout(300), timeout(600)], [180, 180, 660, 1260]);
}

#[test]
fn four_that_are_not_heard_of_again_make_an_invoker_unresponsive() {
    let mut placement = fleet(Policy::Bounded, 1, 4096);
    let hello = want("guest", "guest/hello", 128, 1);
    (1..10).for_each(|_| drop(placement.on(Duration::ZERO, Event::Tested { invoker: Invoker(0), end: End::Success })));
    (0..4).for_each(|number| assert!(placement.book(Duration::ZERO, id(number), &hello, 0).is_ok()));
    let mut orders = Vec::new();
    for second in 1..=180 {
        placement.on(SECOND * second, ping(0, 4096));
        orders = placement.on(SECOND * second, Event::Tick);
    }
    let invoker = Invoker(0);
    let expired = |number| Order::Expired { activation: id(number), invoker };
    let changed = Order::Changed { invoker, from: Some(Health::Healthy), to: Health::Unresponsive };
    assert_eq!(orders, [expired(0), expired(1), expired(2), expired(3), changed, Order::Test(invoker)]);
}
