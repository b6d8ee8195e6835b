//! What the tests of this crate share.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{sync::Arc, time::Duration};

use whisker_entity::{ActivationId, Version};
use whisker_placement::{Action, Config, End, Event, Invoker, Order, Placed, Placement, Policy, Refusal, Want};

pub const SECOND: Duration = Duration::from_secs(1);

pub fn id(number: u64) -> ActivationId {
    ActivationId::from_bytes(u128::from(number).to_be_bytes())
}

pub fn want(namespace: &str, name: &str, memory_mb: u32, concurrency: u32) -> Want {
    Want {
        action: Arc::new(Action {
            namespace: namespace.parse().unwrap(),
            name: name.parse().unwrap(),
            version: Version::FIRST,
            memory_mb,
            concurrency,
            blackbox: false,
        }),
        time_limit: Duration::from_secs(60),
    }
}

pub fn blackbox(want: &Want) -> Want {
    let action = Action { blackbox: true, ..(*want.action).clone() };
    Want { action: Arc::new(action), ..want.clone() }
}

pub fn ping(invoker: u32, memory_mb: u64) -> Event {
    Event::Ping { invoker: Invoker(invoker), memory_mb, busy_mb: None, enabled: true, life: 1 }
}

/// A placement with so many healthy invokers of so much memory.
pub fn fleet(policy: Policy, invokers: u32, memory_mb: u64) -> Placement {
    let mut placement = Placement::new(Config { policy, ..Config::default() });
    (0..invokers).for_each(|invoker| join(&mut placement, Duration::ZERO, invoker, memory_mb));
    placement
}

/// An invoker pings and passes its test.
pub fn join(placement: &mut Placement, now: Duration, invoker: u32, memory_mb: u64) {
    let orders = placement.on(now, ping(invoker, memory_mb));
    assert!(orders.contains(&Order::Test(Invoker(invoker))), "{orders:?}");
    placement.on(now, Event::Tested { invoker: Invoker(invoker), end: End::Success });
}

pub fn end(placement: &mut Placement, now: Duration, activation: u64, invoker: u32) -> Vec<Order> {
    placement.on(now, Event::Ended { activation: id(activation), invoker: Invoker(invoker), end: End::Success })
}

pub fn placed(result: Result<Placed, Refusal>) -> (u32, bool, bool) {
    let placed = result.unwrap();
    (placed.invoker.0, placed.forced, placed.warm)
}
