//! Which messages of a partition are done, and so how far it may be committed.
//!
//! Messages are done in any order, but Kafka keeps one number: everything below
//! it is forgotten. So the number stays at the first message that is not done,
//! however many behind it are. What a crash leaves between the two comes again.

use std::collections::BTreeSet;

/// Progress in one partition, as long as it is this reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// Read, and not done.
    pending: BTreeSet<i64>,
    /// The one after the last that was read.
    next: i64,
}

impl Offsets {
    /// Nothing was read yet, and this is the first that will be.
    pub fn starting_at(offset: i64) -> Self {
        Self { pending: BTreeSet::new(), next: offset }
    }

    /// Notes a message as read. Offsets grow, with gaps; one that was read
    /// before, as after a seek, is not pending a second time: `false`.
    pub fn read(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        self.pending.insert(offset)
    }

    /// Notes a message as done. Saying it twice, or of one that was never
    /// read, changes nothing.
    pub fn done(&mut self, offset: i64) {
        self.pending.remove(&offset);
    }

    /// Up to where all is done: what may be committed. It never goes back.
    pub fn position(&self) -> i64 {
        self.pending.first().copied().unwrap_or(self.next)
    }

    /// The one after the last that was read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How many were read and are not done.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_waits_for_the_first_that_is_not_done() {
        let mut offsets = Offsets::starting_at(7);
        assert_eq!(offsets.position(), 7);
        for offset in [7, 8, 11] {
            assert!(offsets.read(offset));
        }
        assert!(!offsets.read(8), "read before");
        offsets.done(8);
        offsets.done(11);
        assert_eq!((offsets.position(), offsets.pending()), (7, 1));
        offsets.done(7);
        offsets.done(7);
        assert_eq!((offsets.position(), offsets.next(), offsets.pending()), (12, 12, 0));
    }

    #[test]
    fn what_was_never_read_is_not_done() {
        let mut offsets = Offsets::starting_at(3);
        offsets.done(3);
        assert_eq!(offsets.position(), 3);
        assert!(offsets.read(3));
        assert_eq!(offsets.position(), 3);
    }

    proptest! {
        /// Whatever the order: nothing that is not done is ever below the
        /// position, it never goes back, and in the end all is committed.
        #[test]
        fn nothing_is_committed_before_it_is_done(
            gaps in prop::collection::vec(1..4i64, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut offset = 0;
            let mut undone = Vec::new();
            let mut offsets = Offsets::starting_at(0);
            for gap in &gaps {
                offset += gap;
                prop_assert!(offsets.read(offset));
                undone.push(offset);
            }
            let mut before = offsets.position();
            for index in order {
                if undone.is_empty() {
                    break;
                }
                let done = undone.swap_remove(index.index(undone.len()));
                offsets.done(done);
                let position = offsets.position();
                prop_assert!(position >= before);
                prop_assert!(undone.iter().all(|offset| *offset >= position));
                before = position;
            }
            for offset in undone.drain(..) {
                offsets.done(offset);
            }
            prop_assert_eq!(offsets.position(), offset + 1);
        }
    }
}
