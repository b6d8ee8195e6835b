//! Our policy, case by case.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::*;
use whisker_placement::{End, Event, Invoker, Placement, Policy};

const NOW: Duration = Duration::ZERO;

fn book(placement: &mut Placement, number: u64, want: &whisker_placement::Want) -> (u32, bool, bool) {
    placed(placement.book(NOW, id(number), want, number))
}

#[test]
fn an_action_that_is_warm_goes_where_it_is_warm() {
    let mut placement = fleet(Policy::Bounded, 10, 1024);
    let hello = want("guest", "guest/hello", 256, 1);
    let (home, ..) = book(&mut placement, 0, &hello);
    end(&mut placement, NOW, 0, home);
    assert_eq!(book(&mut placement, 1, &hello), (home, false, true));
    // Its only container is busy: the next is cold, and at home too.
    assert_eq!(book(&mut placement, 2, &hello), (home, false, false));
}

#[test]
fn it_is_warm_where_it_ran_and_not_where_it_was_sent() {
    let mut placement = fleet(Policy::Bounded, 10, 1024);
    let hello = want("guest", "guest/hello", 256, 1);
    let (home, ..) = book(&mut placement, 0, &hello);
    let rescuer = (home + 1) % 9;
    end(&mut placement, NOW, 0, rescuer);
    assert_eq!(book(&mut placement, 1, &hello), (rescuer, false, true));
    assert!(placement.members().all(|m| m.booked_mb == if m.invoker.0 == rescuer { 256 } else { 0 }));
}

#[test]
fn what_is_warm_grows_cold() {
    let mut placement = fleet(Policy::Bounded, 4, 1024);
    let hello = want("guest", "guest/hello", 256, 1);
    let warm_after = |placement: &mut Placement, seconds: u64, number: u64| {
        for second in 0..=seconds {
            let now = placement_now(number, second);
            (0..4).for_each(|invoker| drop(placement.on(now, ping(invoker, 1024))));
            placement.on(now, Event::Tick);
        }
        placement.book(placement_now(number, seconds), id(number), &hello, 0).unwrap()
    };
    fn placement_now(number: u64, second: u64) -> Duration {
        Duration::from_secs(1000 * number + second)
    }
    let first = warm_after(&mut placement, 0, 1);
    end(&mut placement, placement_now(1, 0), 1, first.invoker.0);
    // Nothing was heard for 1,000 s, though time went by here: nobody is blamed.
    let second = warm_after(&mut placement, 0, 2);
    assert!(!second.warm, "after so long");
    end(&mut placement, placement_now(2, 0), 2, second.invoker.0);
    let third = placement.book(placement_now(2, 299), id(3), &hello, 0).unwrap();
    assert!(third.warm, "before five minutes are over");
    assert_eq!(placement.counts().actions, 1);
}

#[test]
fn whoever_goes_offline_or_starts_anew_is_cold() {
    for gone in [
        Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb: None, enabled: false, life: 1 },
        Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb: None, enabled: true, life: 2 },
    ] {
        let mut placement = fleet(Policy::Bounded, 1, 1024);
        let hello = want("guest", "guest/hello", 256, 1);
        book(&mut placement, 0, &hello);
        end(&mut placement, NOW, 0, 0);
        placement.on(NOW, gone.clone());
        placement.on(NOW, Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb: None, enabled: true, life: 2 });
        placement.on(NOW, Event::Tested { invoker: Invoker(0), end: End::Success });
        assert_eq!(book(&mut placement, 1, &hello), (0, false, false), "{gone:?}");
    }
}

#[test]
fn a_platform_error_or_a_timeout_leaves_nothing_warm() {
    let mut placement = fleet(Policy::Bounded, 1, 1024);
    (0..5).for_each(|_| drop(placement.on(NOW, Event::Tested { invoker: Invoker(0), end: End::Success })));
    let hello = want("guest", "guest/hello", 256, 1);
    book(&mut placement, 0, &hello);
    placement.on(NOW, Event::Ended { activation: id(0), invoker: Invoker(0), end: End::SystemError });
    assert_eq!(book(&mut placement, 1, &hello), (0, false, false));
}

#[test]
fn different_actions_have_different_homes_and_even_ones() {
    let mut placement = fleet(Policy::Bounded, 20, 1 << 20);
    let mut homes = [0u32; 18];
    for number in 0..1800 {
        let (home, ..) = book(&mut placement, number, &want("guest", &format!("guest/a{number}"), 128, 1));
        homes[home as usize] += 1;
        end(&mut placement, NOW, number, home);
    }
    assert!(homes.iter().all(|home| (40..200).contains(home)), "{homes:?}");
}

#[test]
fn an_update_stays_at_home_but_is_cold() {
    let mut placement = fleet(Policy::Bounded, 10, 1024);
    let hello = want("guest", "guest/hello", 256, 1);
    let mut update = (*hello.action).clone();
    update.version = update.version.next();
    let update = whisker_placement::Want { action: update.into(), ..hello.clone() };
    let (home, ..) = book(&mut placement, 0, &hello);
    end(&mut placement, NOW, 0, home);
    assert_eq!(book(&mut placement, 1, &update), (home, false, false));
}

#[test]
fn a_burst_of_one_action_is_spread_evenly() {
    // Nine invokers of 16 places, and 100 runs at once: 11 each on average.
    let mut placement = fleet(Policy::Bounded, 10, 4096);
    let hot = want("guest", "guest/hot", 256, 1);
    (0..100).for_each(|number| assert!(!book(&mut placement, number, &hot).1));
    let booked: Vec<u64> = placement.members().take(9).map(|member| member.booked_mb / 256).collect();
    assert!(booked.iter().all(|places| *places <= 14), "a quarter above the average, rounded up: {booked:?}");
}

#[test]
fn an_idle_container_of_others_is_spared_as_long_as_there_is_room() {
    let mut placement = fleet(Policy::Bounded, 4, 256);
    // Each invoker has room for one container. Four actions run one after the
    // other: each gets an invoker of its own, and all stay warm.
    let all: Vec<_> = (0..4).map(|number| want("guest", &format!("guest/a{number}"), 256, 1)).collect();
    let mut homes = BTreeSet::new();
    for (number, want) in (0u64..).zip(&all) {
        let (home, ..) = book(&mut placement, number, want);
        end(&mut placement, NOW, number, home);
        homes.insert(home);
    }
    assert_eq!(homes.len(), 4);
    for (number, want) in (10u64..).zip(&all) {
        let (home, forced, warm) = book(&mut placement, number, want);
        assert!(warm && !forced);
        end(&mut placement, NOW, number, home);
    }
    // A fifth takes the place of one of them.
    let (home, forced, warm) = book(&mut placement, 20, &want("guest", "guest/a4", 256, 1));
    assert!(!warm && !forced);
    end(&mut placement, NOW, 20, home);
    let again: Vec<bool> = (30u64..)
        .zip(&all)
        .map(|(number, want)| {
            let (home, _, warm) = book(&mut placement, number, want);
            // It goes as if it had never been: what it pushed out is another test.
            placement.on(NOW, Event::Withdrawn(id(number)));
            let _ = home;
            warm
        })
        .collect();
    assert_eq!(again.iter().filter(|warm| !**warm).count(), 1, "{again:?}");
}

#[test]
fn concurrent_runs_join_a_busy_container_first() {
    let mut placement = fleet(Policy::Bounded, 10, 1024);
    let many = want("guest", "guest/hello", 256, 10);
    let (home, ..) = book(&mut placement, 0, &many);
    (1..10).for_each(|number| assert_eq!(book(&mut placement, number, &many), (home, false, true)));
    assert!(!book(&mut placement, 10, &many).2, "the eleventh needs another one");
    assert_eq!(placement.counts().booked_mb, 512);
}

#[test]
fn without_room_those_that_run_it_are_overdrawn_and_the_least_loaded_first() {
    let mut placement = fleet(Policy::Bounded, 3, 256);
    let hello = want("guest", "guest/hello", 256, 1);
    (0..3).for_each(|number| assert!(!book(&mut placement, number, &hello).1));
    (3..9).for_each(|number| assert!(book(&mut placement, number, &hello).1));
    let booked: Vec<u64> = placement.members().map(|member| member.booked_mb / 256).collect();
    assert_eq!(booked, [3, 3, 3]);
}

fn share_mb(policy: Policy, busy_mb: Option<u64>, booked: u64) -> u64 {
    let mut placement = fleet(policy, 1, 1024);
    placement.on(NOW, Event::Controllers(2));
    for number in 0..booked {
        book(&mut placement, number, &want("guest", "guest/hello", 256, 1));
    }
    placement.on(NOW, Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb, enabled: true, life: 1 });
    placement.members().next().unwrap().share_mb
}

#[test]
fn a_share_is_an_even_part_or_one_of_what_nobody_takes_and_never_what_others_do() {
    for (busy_mb, booked, expected) in [
        (None, 0, 512),
        (Some(0), 0, 512),
        // Others have a quarter of it, and three quarters.
        (Some(256), 0, 512),
        (Some(768), 0, 256),
        (Some(1024), 0, 0),
        // All that is taken is its own.
        (Some(512), 2, 768),
        (Some(0), 2, 768),
        // Others have a quarter as well.
        (Some(768), 2, 640),
        (Some(1024), 2, 512),
    ] {
        assert_eq!(share_mb(Policy::Bounded, busy_mb, booked), expected, "{busy_mb:?} busy, {booked} booked");
        assert_eq!(share_mb(Policy::Sharding, busy_mb, booked), 512, "as OpenWhisk");
    }
}

#[test]
fn who_knows_what_others_take_believes_in_what_is_warm_beyond_its_share() {
    for (busy_mb, warm) in [(None, false), (Some(0), true), (Some(768), false)] {
        let mut placement = fleet(Policy::Bounded, 1, 1024);
        placement.on(NOW, Event::Controllers(2));
        for number in 0..3 {
            let action = want("guest", &format!("guest/a{number}"), 256, 1);
            let ping = Event::Ping { invoker: Invoker(0), memory_mb: 1024, busy_mb, enabled: true, life: 1 };
            placement.on(NOW, ping);
            book(&mut placement, number, &action);
            end(&mut placement, NOW, number, 0);
        }
        let (_, _, is_warm) = book(&mut placement, 3, &want("guest", "guest/a0", 256, 1));
        assert_eq!(is_warm, warm, "{busy_mb:?}");
    }
}
