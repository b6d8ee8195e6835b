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
    // NaN is no part of anything.
    let managed = if managed.is_nan() { 1.0 } else { managed.clamp(0.0, 1.0) };
    let blackbox = (1.0 - managed).max(blackbox.min(1.0));
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
        at = (at + step) % group.count;
    }
    group.any(&fleet.rooms, dice).map(|invoker| (invoker, true))
}
