//! OpenWhisk's policy, with values worked out by hand from its formulae.
//!
//! Ten invokers: nine for managed actions, the last one for black boxes. The
//! hash of `guest`'s `guest/hello` is 98708952 XOR 86723035 = 13198339. Modulo
//! nine it is 1: its home. The steps for nine are 1, 2, 5, 7; 13198339 modulo
//! four is 3: its step is 7.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::*;
use whisker_placement::{Config, Event, Invoker, Placement, Policy, Refusal};

const NOW: Duration = Duration::ZERO;
const WALK: [u32; 9] = [1, 8, 6, 4, 2, 0, 7, 5, 3];

#[test]
fn an_action_goes_home_and_then_step_by_step() {
    let mut placement = fleet(Policy::Sharding, 10, 256);
    let hello = want("guest", "guest/hello", 256, 1);
    for (number, invoker) in (0u64..).zip(WALK) {
        assert_eq!(placed(placement.book(NOW, id(number), &hello, 0)), (invoker, false, false));
    }
    // Who has room again is taken, wherever on the way.
    end(&mut placement, NOW, 3, WALK[3]);
    end(&mut placement, NOW, 6, WALK[6]);
    assert_eq!(placed(placement.book(NOW, id(20), &hello, 0)), (WALK[3], false, true));
    assert_eq!(placed(placement.book(NOW, id(21), &hello, 0)), (WALK[6], false, true));
}

#[test]
fn a_packaged_action_and_another_namespace_have_other_homes() {
    let mut placement = fleet(Policy::Sharding, 10, 1024);
    for (number, (namespace, name, home)) in (0u64..).zip([
        ("guest", "guest/hello", 13_198_339 % 9),
        ("guest", "guest/pkg/hello", 753_903_232 % 9),
        ("whisk.system", "whisk.system/utils/echo", 435_753_080 % 9),
        ("anna", "guest/hello", 84_315_003 % 9),
    ]) {
        let placed = placement.book(NOW, id(number), &want(namespace, name, 128, 1), 0).unwrap();
        assert_eq!(placed.invoker, Invoker(home), "{namespace}, {name}");
    }
}

#[test]
fn black_boxes_go_to_the_last_tenth() {
    let mut placement = fleet(Policy::Sharding, 20, 256);
    let theirs = blackbox(&want("guest", "guest/hello", 256, 1));
    // Two invokers, 18 and 19; the hash is odd; the only step is 1.
    assert_eq!(placed(placement.book(NOW, id(0), &theirs, 0)), (19, false, false));
    assert_eq!(placed(placement.book(NOW, id(1), &theirs, 0)), (18, false, false));
    assert_eq!(placed(placement.book(NOW, id(2), &theirs, 0)), (18, true, false), "no room but there");
    assert_eq!(placed(placement.book(NOW, id(3), &theirs, 1)), (19, true, false));
}

#[test]
fn without_room_a_random_healthy_one_is_overdrawn() {
    let mut placement = fleet(Policy::Sharding, 10, 256);
    let hello = want("guest", "guest/hello", 256, 1);
    (0..9).for_each(|number| assert!(!placement.book(NOW, id(number), &hello, 0).unwrap().forced));
    placement.on(NOW, Event::Ping { invoker: Invoker(2), memory_mb: 256, busy_mb: None, enabled: false, life: 1 });
    // Healthy are 0, 1, 3, 4, 5, 6, 7, 8; the fifth of them is 5.
    assert_eq!(placed(placement.book(NOW, id(20), &hello, 8 * 1000 + 4)), (5, true, false));
    let five = placement.members().nth(5).unwrap();
    assert_eq!((five.share_mb, five.booked_mb), (256, 512));
    // It has no room before both are over.
    end(&mut placement, NOW, 20, 5);
    assert!(placement.book(NOW, id(21), &hello, 0).unwrap().forced);
}

#[test]
fn concurrent_runs_share_one_reservation() {
    let mut placement = fleet(Policy::Sharding, 10, 256);
    let many = want("guest", "guest/hello", 256, 3);
    for number in 0..9 {
        let home = WALK[number as usize / 3];
        let joins = number % 3 != 0;
        assert_eq!(placed(placement.book(NOW, id(number), &many, 0)), (home, false, joins), "run {number}");
    }
    let booked = |placement: &Placement| placement.members().map(|member| member.booked_mb).sum::<u64>();
    assert_eq!(booked(&placement), 3 * 256);
    // Two of three ended: the container is still busy, and has two places.
    end(&mut placement, NOW, 0, WALK[0]);
    end(&mut placement, NOW, 1, WALK[0]);
    assert_eq!(booked(&placement), 3 * 256);
    end(&mut placement, NOW, 2, WALK[0]);
    assert_eq!(booked(&placement), 2 * 256);
}

#[test]
fn memory_is_divided_among_controllers() {
    let mut placement = fleet(Policy::Sharding, 1, 1024);
    let share = |placement: &Placement| placement.members().next().unwrap().share_mb;
    assert_eq!(share(&placement), 1024);
    for (controllers, expected) in [(2, 512), (3, 341), (8, 128), (9, 128), (100, 128), (0, 1024), (1, 1024)] {
        placement.on(NOW, Event::Controllers(controllers));
        assert_eq!(share(&placement), expected, "{controllers} controllers");
    }
}

#[test]
fn what_is_booked_stays_booked_when_controllers_come_and_go() {
    let mut placement = fleet(Policy::Sharding, 1, 1024);
    let hello = want("guest", "guest/hello", 256, 1);
    (0..4).for_each(|number| assert!(!placement.book(NOW, id(number), &hello, 0).unwrap().forced));
    placement.on(NOW, Event::Controllers(2));
    (0..3).for_each(|number| drop(end(&mut placement, NOW, number, 0)));
    assert!(!placement.book(NOW, id(4), &hello, 0).unwrap().forced, "one of two places is free");
    assert!(placement.book(NOW, id(5), &hello, 0).unwrap().forced, "and none after it");
}

#[test]
fn unhealthy_ones_are_passed_over_and_nobody_is_an_error() {
    let mut placement = Placement::new(Config { policy: Policy::Sharding, ..Config::default() });
    let hello = want("guest", "guest/hello", 256, 1);
    assert_eq!(placement.book(NOW, id(0), &hello, 0), Err(Refusal::NoInvokers));
    // The tenth pings: nine more are known of, and offline.
    placement.on(NOW, ping(9, 256));
    assert_eq!(placement.counts().offline, 9);
    assert_eq!(placement.book(NOW, id(0), &hello, 0), Err(Refusal::NoInvokers));
    assert_eq!(Refusal::NoInvokers.to_string(), "No invokers available");
    join(&mut placement, NOW, 2, 256);
    assert_eq!(placed(placement.book(NOW, id(0), &hello, 0)), (2, false, false));
    assert_eq!(placement.counts().in_flight, 1, "what was refused left nothing behind");
    assert_eq!(placement.counts().actions, 1);
}
