//! Invokers on a ring of hashes: who is at home where, and who is the next one
//! with room.
//!
//! Each invoker has one point, made of its number alone, so that all
//! controllers agree, and one that joins takes nothing from anybody but what
//! becomes its own. An action looks from several points of its own
//! ([`PROBES`]) and is at home where the way to the next invoker is shortest
//! (multi-probe consistent hashing: Appleton and O'Reilly, 2015). That is as
//! even as hundreds of points for each invoker and takes far less memory; and
//! the other probes are further homes that two actions hardly ever share, so
//! that one full invoker does not flood its neighbour.
//!
//! Over the points lies a tree of maxima, which finds the first invoker with
//! enough room from a point on in as many steps as the logarithm of their
//! number.

use crate::fleet::Room;

/// From how many points an action looks.
pub(crate) const PROBES: usize = 21;

/// Spreads the bits of a number over all of them (the finaliser of SplitMix64).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A hash of a text that is the same in every process and version: FNV-1a.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    mix(hash)
}

/// A point's place among all points, in the order of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(usize);

#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// By hash.
    points: Vec<(u64, usize)>,
    /// Where the invokers are among the points, from the first one on.
    places: Vec<At>,
    first: usize,
    /// Children of `i` are `2 i` and `2 i + 1`; the leaves are the points.
    tree: Vec<Room>,
    leaves: usize,
}

impl Ring {
    /// Of `count` invokers from number `first` on, nobody with any room.
    pub fn new(first: usize, count: usize) -> Self {
        let mut points: Vec<(u64, usize)> =
            (first..first + count).map(|invoker| (mix(!(invoker as u64)), invoker)).collect();
        points.sort_unstable();
        let mut places = vec![At(0); count];
        for (at, (_, invoker)) in points.iter().enumerate() {
            places[invoker - first] = At(at);
        }
        let leaves = count.next_power_of_two();
        Self { points, places, first, tree: vec![Room::NONE; 2 * leaves], leaves }
    }

    /// How much room an invoker has now.
    pub fn set(&mut self, invoker: usize, room: Room) {
        let Some(At(at)) = invoker.checked_sub(self.first).and_then(|i| self.places.get(i).copied()) else { return };
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
    /// invokers, perhaps some of them twice. All zero on an empty ring.
    pub fn homes(&self, digest: u64) -> [At; PROBES] {
        let mut ways = [(u64::MAX, 0); PROBES];
        if !self.points.is_empty() {
            for (number, way) in (0u64..).zip(&mut ways) {
                let probe = mix(digest.wrapping_add(number.wrapping_mul(0xd6e8_feb8_6659_fd93)));
                let next = self.points.partition_point(|(hash, _)| *hash < probe) % self.points.len();
                *way = (self.points[next].0.wrapping_sub(probe), next);
            }
            ways.sort_unstable();
        }
        ways.map(|(_, at)| At(at))
    }

    /// Whose point it is.
    pub fn invoker(&self, At(at): At) -> Option<usize> {
        self.points.get(at).map(|(_, invoker)| *invoker)
    }

    /// The first from a point on, and around, of whom this holds. It must hold
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
