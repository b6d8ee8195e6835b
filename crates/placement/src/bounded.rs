//! Our way to choose an invoker: consistent hashing with bounded loads
//! (Mirrokni, Thorup and Zadimoghaddam, 2018), which also knows what is warm.
//!
//! In this order, and always only where memory is left:
//!
//! 1. A busy container that has room for one more run.
//! 2. An idle one, the one used last first: the others grow old enough to go.
//!    Its invoker should not be loaded above the bound, but a warm start on a
//!    busy invoker beats a cold one on a quiet one.
//! 3. A new container at home, or where the action's hashes point to next, if
//!    that takes no other action's idle container away and keeps the bound.
//! 4. Anywhere else that takes nothing away, from home on around the ring; the
//!    bound is kept if that is possible near by.
//! 5. Anywhere where memory is left, beginning at home; idle containers go.
//! 6. Nobody has memory left: the least loaded of a few is *forced* to take
//!    it, those that run the action before others, since their containers
//!    need no start when it is its turn.
//!
//! With several controllers nobody knows what the others have idle where, but
//! all have the same homes: what is at home is likely to be warm there, whoever
//! had it started. So idle containers are not spared in 3, and the part of the
//! share that is granted anyway is larger.
//!
//! The bound is a part of the share that is granted anyway, or somewhat more
//! than what invokers have on average: as long as little is going on, actions
//! stay where they are warm.

use crate::{
    Config,
    fleet::{Fleet, Room},
    ring::At,
    warm::Use,
};

/// How many of an action's warm places are looked at.
const WARM: usize = 8;

/// How many invokers after home are looked at one by one. Of more, those with
/// room are found, but not those within the bound.
const NEAR: usize = 32;

/// The invoker, and whether it had to be forced; `None` when none is usable.
pub(crate) fn choose(fleet: &Fleet, what: &Use, config: &Config, dice: u64) -> Option<(usize, bool)> {
    let group = fleet.group(what.action.blackbox);
    let cost_mb = what.action.cost_mb();
    // It may be warm where black boxes went before more invokers joined.
    let room = |invoker: usize| if group.has(invoker) { fleet.rooms[invoker] } else { Room::NONE };
    let within = |invoker: usize| fleet.is_within_bound(invoker, cost_mb, config);

    if let Some(open) = what.open.iter().copied().take(WARM).find(|invoker| room(*invoker) != Room::NONE) {
        return Some((open, false));
    }
    let mut warm = None;
    for invoker in what.idle.values().rev().copied().take(WARM).filter(|i| room(*i).free_mb >= cost_mb) {
        if within(invoker) {
            return Some((invoker, false));
        }
        warm = Some(warm.map_or(invoker, |best| fleet.less_loaded(best, invoker)));
    }
    if let Some(invoker) = warm {
        return Some((invoker, false));
    }

    let homes = group.ring.homes(what.digest);
    let mut fallback = None;
    for invoker in group.ring.invokers(&homes).chain(group.ring.after(homes[0], NEAR)) {
        if room(invoker).free_mb < cost_mb || !within(invoker) {
            continue;
        }
        if room(invoker).vacant_mb >= cost_mb || fleet.is_shared() {
            return Some((invoker, false));
        }
        fallback = fallback.or(Some(invoker));
    }
    let home = homes[0];
    group
        .ring
        .first_from(home, |room| room.vacant_mb >= cost_mb)
        .or(fallback)
        .or_else(|| group.ring.first_from(home, |room| room.free_mb >= cost_mb))
        .map(|invoker| (invoker, false))
        .or_else(|| forced(fleet, what, home, dice).map(|invoker| (invoker, true)))
}

/// Who takes one more when nobody has room.
fn forced(fleet: &Fleet, what: &Use, home: At, dice: u64) -> Option<usize> {
    let group = fleet.group(what.action.blackbox);
    let usable = |invoker: &usize| group.has(*invoker) && fleet.is_usable(*invoker);
    let places = what.places().filter(usable).take(WARM);
    let others = [dice, dice >> 32].into_iter().filter_map(|dice| group.any(dice));
    let home = group.ring.invoker(home).into_iter().filter(usable);
    home.chain(places).chain(others).reduce(|one, other| fleet.less_loaded(one, other))
}
