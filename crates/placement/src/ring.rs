//! Invokers on a ring of hashes: who is at home where, and who is the next one
//! with room.
//!
//! Each invoker has some points, made of its number alone, so that all
//! controllers agree, and one that joins takes nothing from anybody but what
//! becomes its own. An action looks from several points of its own and is at
//! home where the way to the next invoker is shortest (multi-probe consistent
//! hashing: Appleton and O'Reilly, 2015). Looking from several makes the
//! shares even with far fewer points; and what it found besides are further
//! homes, which two actions hardly ever have in common, so that one full
//! invoker does not flood its neighbour.
//!
//! Beside them lies a tree of maxima, which finds the first invoker with enough
//! room, from a home on, in as many steps as the logarithm of their number.

use whisker_dice::mixed;

use crate::fleet::Room;

/// From how many points an action looks.
pub(crate) const PROBES: usize = 12;

/// How many points an invoker has. With one, some invokers of a small fleet
/// would hardly be anybody's home.
const POINTS: usize = 16;

/// A hash of a text that is the same in every process and version: FNV-1a.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    mixed(hash)
}

/// An invoker's place among all, in the order of their first hashes: a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct At(usize);

#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// By hash.
    points: Vec<(u64, At)>,
    /// Who has which leaf …
    invokers: Vec<usize>,
    /// … and which leaf has who, from the first invoker on.
    leaf_of: Vec<At>,
    first: usize,
    /// Children of `i` are `2 i` and `2 i + 1`; the leaves come last.
    tree: Vec<Room>,
    leaves: usize,
}

impl Ring {
    /// Of `count` invokers from number `first` on, nobody with any room.
    pub fn new(first: usize, count: usize) -> Self {
        let hash = |invoker: usize, point: usize| mixed(!((invoker * POINTS + point) as u64));
        let mut invokers: Vec<usize> = (first..first + count).collect();
        invokers.sort_unstable_by_key(|invoker| hash(*invoker, 0));
        let mut leaf_of = vec![At(0); count];
        for (leaf, invoker) in invokers.iter().enumerate() {
            leaf_of[invoker - first] = At(leaf);
        }
        let mut points: Vec<(u64, At)> = (first..first + count)
            .flat_map(|invoker| (0..POINTS).map(move |point| (invoker, point)))
            .map(|(invoker, point)| (hash(invoker, point), leaf_of[invoker - first]))
            .collect();
        points.sort_unstable();
        let leaves = count.next_power_of_two();
        Self { points, invokers, leaf_of, first, tree: vec![Room::NONE; 2 * leaves], leaves }
    }

    /// How much room an invoker has now.
    pub fn set(&mut self, invoker: usize, room: Room) {
        let Some(At(at)) = invoker.checked_sub(self.first).and_then(|i| self.leaf_of.get(i).copied()) else { return };
        let mut node = self.leaves + at;
        self.tree[node] = room;
        while node > 1 {
            node /= 2;
            let most = self.tree[2 * node].most(self.tree[2 * node + 1]);
            if self.tree[node] == most {
                break;
            }
            self.tree[node] = most;
        }
    }

    /// Where an action with this digest is at home, and where next: a few
    /// invokers, perhaps some of them twice.
    pub fn homes(&self, digest: u64) -> [At; PROBES] {
        let mut ways = [(u64::MAX, At(0)); PROBES];
        if !self.points.is_empty() {
            for (number, way) in (0u64..).zip(&mut ways) {
                let probe = mixed(digest.wrapping_add(number.wrapping_mul(0xd6e8_feb8_6659_fd93)));
                let next = self.points.partition_point(|(hash, _)| *hash < probe) % self.points.len();
                let (hash, at) = self.points[next];
                *way = (hash.wrapping_sub(probe), at);
            }
            ways.sort_unstable();
        }
        ways.map(|(_, at)| at)
    }

    /// Whose leaf it is.
    pub fn invoker(&self, At(at): At) -> Option<usize> {
        self.invokers.get(at).copied()
    }

    /// Who has these leaves.
    pub fn invokers(&self, leaves: &[At]) -> impl Iterator<Item = usize> {
        leaves.iter().filter_map(|at| self.invoker(*at))
    }

    /// So many after a leaf, around the ring, each once.
    pub fn after(&self, At(start): At, count: usize) -> impl Iterator<Item = usize> {
        let around = self.invokers.iter().skip(start + 1).chain(self.invokers.iter().take(start));
        around.copied().take(count)
    }

    /// The first from a leaf on, and around, of whom this holds. It must hold
    /// of two together wherever it holds of one.
    pub fn first_from(&self, At(start): At, fits: impl Fn(Room) -> bool) -> Option<usize> {
        let found = self.descend(start, &fits).or_else(|| self.descend(0, &fits))?;
        self.invoker(At(found))
    }

    fn descend(&self, start: usize, fits: &impl Fn(Room) -> bool) -> Option<usize> {
        let mut node = self.leaves + start;
        while !fits(*self.tree.get(node)?) {
            // To the next subtree on the right: up as long as it is the right
            // child, and over. The root is one, so the last leaf ends here.
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node *= 2;
            if !fits(self.tree[node]) {
                node += 1;
            }
        }
        Some(node - self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free_mb: i64) -> Room {
        Room { free_mb, vacant_mb: free_mb }
    }

    fn home(ring: &Ring, key: u64) -> usize {
        ring.invoker(ring.homes(mixed(key))[0]).expect("a home")
    }

    #[test]
    fn one_that_joins_takes_nothing_from_others_but_what_becomes_its_own() {
        const KEYS: u64 = 2_000;
        for count in [1, 2, 3, 10, 99] {
            let (before, after) = (Ring::new(0, count), Ring::new(0, count + 1));
            let moved: Vec<usize> = (0..KEYS)
                .filter(|key| home(&before, *key) != home(&after, *key))
                .map(|key| home(&after, key))
                .collect();
            assert!(moved.iter().all(|new| *new == count), "{count}: all that moved went to the new one");
            let fair = KEYS as usize / (count + 1);
            assert!(moved.len() <= 2 * fair, "{count}: {} moved, a fair share is {fair}", moved.len());
        }
    }

    #[test]
    fn homes_are_even_in_small_fleets_and_large_ones() {
        for count in [2, 3, 5, 10, 100] {
            let ring = Ring::new(0, count);
            let mut loads = vec![0; count];
            (0..1_000 * count as u64).for_each(|key| loads[home(&ring, key)] += 1);
            assert!(loads.iter().all(|load| (600..1_300).contains(load)), "{loads:?}");
        }
    }

    #[test]
    fn the_first_with_room_is_found_around_the_ring() {
        for count in [1, 2, 3, 7, 8, 9] {
            let mut ring = Ring::new(5, count);
            assert_eq!(ring.first_from(At(0), |room| room.free_mb >= 1), None);
            for at in 0..count {
                let lucky = ring.invoker(At(at)).expect("a leaf");
                ring.set(lucky, room(10));
                for start in 0..count {
                    assert_eq!(ring.first_from(At(start), |room| room.free_mb >= 10), Some(lucky));
                    assert_eq!(ring.first_from(At(start), |room| room.free_mb >= 11), None);
                }
                ring.set(lucky, Room::NONE);
            }
            (5..5 + count).for_each(|invoker| ring.set(invoker, room(1)));
            for start in 0..count {
                assert_eq!(ring.first_from(At(start), |room| room.free_mb >= 1), ring.invoker(At(start)));
            }
        }
    }

    #[test]
    fn an_empty_ring_has_no_homes() {
        let ring = Ring::new(0, 0);
        assert_eq!(ring.invoker(ring.homes(1)[0]), None);
        assert_eq!(ring.first_from(ring.homes(1)[0], |_| true), None);
    }
}
