//! A controller: the real placement, and who waits for what.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use whisker_entity::{ActivationId, Version};
use whisker_placement::{Action, Config, End, Event, Invoker, Order, Placement, Policy, Want};

use crate::{
    Sabotage,
    agenda::Time,
    broker::{Ack, Ping},
    ledger::{Broken, Ledger},
};

/// Memory of each invoker in MB.
pub(crate) const MEMORY_MB: u64 = 1024;
/// Silence in seconds after which nobody may be used: ten, and what a tick is late.
const SILENCE: u64 = 11;
/// For how long nobody at all must have been heard, and may have been, that silence
/// is taken to be the bus's.
const HUSH: RangeInclusive<Time> = 5_001..=30_000;

/// One that was sent, until its client has an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub blocking: bool,
    /// Whether the bus has it for certain.
    pub reported: bool,
    /// Whether its client waits no longer for the result.
    pub waited: bool,
}

#[derive(Debug)]
pub(crate) struct Controller {
    placement: Placement,
    pub pending: BTreeMap<ActivationId, Pending>,
    /// How far it read.
    pub health: usize,
    pub completed: usize,
    /// What an onlooker knows of the same: what is booked …
    booked: BTreeMap<ActivationId, (usize, u64)>,
    /// … and for how many of its seconds each invoker was silent.
    silent: Vec<u64>,
    /// When anybody was heard.
    heard: Time,
    lives: Vec<u64>,
    sabotage: Sabotage,
}

/// Few actions, so that they meet.
pub(crate) fn want(action: u64) -> Option<Want> {
    let name = format!("guest/a{action}").parse().ok()?;
    let action = Action {
        namespace: "guest".parse().ok()?,
        name,
        version: Version::FIRST,
        memory_mb: [128, 128, 256, 512][(action % 4) as usize],
        concurrency: 1,
        blackbox: action % 7 == 6,
    };
    Some(Want { action: Arc::new(action), time_limit: Duration::from_secs(60) })
}

impl Controller {
    pub fn new(policy: Policy, invokers: usize, controllers: usize, now: Time, sabotage: Sabotage) -> Self {
        let mut placement = Placement::new(Config { policy, ..Config::default() });
        placement.on(Duration::from_millis(now), Event::Controllers(controllers as u32));
        Self {
            placement,
            pending: BTreeMap::new(),
            health: 0,
            completed: 0,
            booked: BTreeMap::new(),
            silent: vec![u64::MAX; invokers],
            heard: now,
            lives: vec![0; invokers],
            sabotage,
        }
    }

    /// The invoker for an activation, unless there is none.
    pub fn book(&mut self, id: ActivationId, want: &Want, dice: u64, now: Time, ledger: &mut Ledger) -> Option<usize> {
        let placed = self.placement.book(Duration::from_millis(now), id, want, dice).ok()?;
        let invoker = placed.invoker.0 as usize;
        let silent = self.silent.get(invoker).copied().unwrap_or(u64::MAX);
        if silent > SILENCE {
            ledger.breaks(Broken::UsedOffline { invoker, silent });
        }
        self.booked.insert(id, (invoker, u64::from(want.action.memory_mb)));
        let booked_mb = self.booked.values().filter(|(at, _)| *at == invoker).map(|(_, mb)| mb).sum();
        let share_mb = self.placement.members().nth(invoker).map_or(0, |member| member.share_mb);
        ledger.seen.forced += u64::from(placed.forced);
        if booked_mb > share_mb && !placed.forced {
            ledger.breaks(Broken::Overdrawn { invoker, booked_mb, share_mb });
        }
        if self.sabotage == Sabotage::FreedEarly {
            self.placement.on(Duration::from_millis(now), Event::Withdrawn(id));
        }
        Some(invoker)
    }

    pub fn withdraw(&mut self, id: ActivationId, now: Time) {
        self.booked.remove(&id);
        self.placement.on(Duration::from_millis(now), Event::Withdrawn(id));
    }

    /// Says which invokers are to be tested.
    pub fn heard(&mut self, ping: Ping, now: Time) -> Vec<usize> {
        let invoker = ping.who.process;
        self.heard = now;
        if ping.enabled {
            self.silent[invoker] = 0;
        }
        self.lives[invoker] = ping.who.life;
        self.ping(invoker, ping.who.life, Some(ping.busy_mb), ping.enabled, now)
    }

    fn ping(&mut self, invoker: usize, life: u64, busy_mb: Option<u64>, enabled: bool, now: Time) -> Vec<usize> {
        let invoker = Invoker(invoker as u32);
        self.on(Event::Ping { invoker, memory_mb: MEMORY_MB, busy_mb, enabled, life }, now)
    }

    pub fn acknowledged(&mut self, ack: Ack, now: Time) -> Vec<usize> {
        let (invoker, end) = (Invoker(ack.invoker as u32), End::Success);
        if ack.test {
            return self.on(Event::Tested { invoker, end }, now);
        }
        self.booked.remove(&ack.id);
        self.on(Event::Ended { activation: ack.id, invoker, end }, now)
    }

    pub fn second(&mut self, now: Time) -> Vec<usize> {
        let several = self.silent.iter().filter(|silent| **silent <= SILENCE).count() > 1;
        if !several || !HUSH.contains(&(now - self.heard)) {
            self.silent.iter_mut().for_each(|silent| *silent = silent.saturating_add(1));
        }
        let mut tests = self.on(Event::Tick, now);
        if self.sabotage == Sabotage::SilenceIgnored {
            for invoker in 0..self.lives.len() {
                if self.lives[invoker] > 0 {
                    tests.extend(self.ping(invoker, self.lives[invoker], None, true, now));
                }
            }
        }
        tests
    }

    fn on(&mut self, event: Event, now: Time) -> Vec<usize> {
        let mut tests = Vec::new();
        for order in self.placement.on(Duration::from_millis(now), event) {
            match order {
                Order::Test(invoker) => tests.push(invoker.0 as usize),
                Order::Expired { activation, .. } => drop(self.booked.remove(&activation)),
                Order::Changed { .. } | Order::Twins(_) | Order::Beyond(_) => {}
            }
        }
        tests
    }
}
