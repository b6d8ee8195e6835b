//! OpenWhisk's way to choose an invoker
//! (`ShardingContainerPoolBalancer.scala`), with its formulae.
//!
//! An action's hash names its home and a step, and it takes the first invoker
//! that is healthy and has memory, step by step from home on. A step has no
//! divisor in common with the number of invokers, so each is met once; and
//! none with other steps, so that actions with one home go different ways.

use crate::{
    fleet::{Fleet, Room},
    warm::Use,
};

/// How many invokers are for actions of known kinds (the first ones), and how
/// many for black boxes (the last ones). Few invokers are for both.
pub(crate) fn split(all: usize, managed: f64, blackbox: f64) -> (usize, usize) {
    let within = |part: f64| if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
    let managed = within(managed);
    let blackbox = within(blackbox).max(1.0 - managed);
    let part = |rounded: f64| (rounded as usize).max(1).min(all);
    (part((all as f64 * managed).ceil()), part((all as f64 * blackbox).floor()))
}

/// The steps in which `count` invokers can be walked through: numbers from 1
/// on that have no divisor in common with it, nor with each other.
pub fn steps(count: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = Vec::new();
    for step in 1..=count {
        if gcd(step, count) == 1 && steps.iter().all(|former| gcd(*former, step) == 1) {
            steps.push(step);
        }
    }
    steps
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Java's hash of a text.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The hash of an action for a namespace. (OpenWhisk's is negative for one of
/// 4 thousand million pairs, and fails; ours is not.)
pub(crate) fn hash(namespace: &str, action: &str) -> usize {
    (java_hash(namespace) ^ java_hash(action)).unsigned_abs() as usize
}

/// The invoker, and whether it had to be forced; `None` when none is usable.
pub(crate) fn choose(fleet: &Fleet, what: &Use, dice: u64) -> Option<(usize, bool)> {
    let group = fleet.group(what.action.blackbox);
    if group.count == 0 {
        return None;
    }
    let cost_mb = what.action.cost_mb();
    let step = group.steps[what.hash % group.steps.len()];
    let mut at = what.hash % group.count;
    for _ in 0..group.count {
        let invoker = group.first + at;
        let room = fleet.rooms[invoker];
        if room.free_mb >= cost_mb || (room != Room::NONE && what.has_slot(invoker)) {
            return Some((invoker, false));
        }
        // A division for each of a thousand would be most of the work.
        at += step;
        if at >= group.count {
            at -= group.count;
        }
    }
    group.any(dice).map(|invoker| (invoker, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invokers_are_split_as_openwhisk_splits_them() {
        for (all, expected) in [
            (0, (0, 0)),
            (1, (1, 1)),
            (2, (2, 1)),
            (9, (9, 1)),
            (10, (9, 1)),
            (11, (10, 1)),
            (20, (18, 2)),
            (1000, (900, 100)),
        ] {
            assert_eq!(split(all, 0.9, 0.1), expected, "{all} invokers");
        }
        for (managed, blackbox, expected) in [
            (1.0, 1.0, (10, 10)),
            // What is not managed is for black boxes, whatever was asked for.
            (0.5, 0.1, (5, 5)),
            (0.0, 0.0, (1, 10)),
            (2.0, -1.0, (10, 1)),
            (f64::NAN, f64::NAN, (1, 10)),
        ] {
            assert_eq!(split(10, managed, blackbox), expected, "{managed}, {blackbox}");
        }
    }

    #[test]
    fn steps_have_no_divisor_in_common() {
        for (count, expected) in [
            (0, vec![]),
            (1, vec![1]),
            (2, vec![1]),
            (3, vec![1, 2]),
            (4, vec![1, 3]),
            (5, vec![1, 2, 3]),
            (9, vec![1, 2, 5, 7]),
            (10, vec![1, 3, 7]),
            (18, vec![1, 5, 7, 11, 13, 17]),
        ] {
            assert_eq!(steps(count), expected, "{count}");
        }
    }

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("guest/hello"), 86_723_035);
        assert_eq!(java_hash("ns/pkg/a"), -1_128_390_636, "it overflows as theirs does");
        assert_eq!(hash("guest", "guest/hello"), 98_708_952 ^ 86_723_035);
        assert_eq!(hash("guest", "guest/pkg/hello"), 753_903_232);
        assert_eq!(hash("whisk.system", "whisk.system/utils/echo"), 435_753_080);
    }
}
