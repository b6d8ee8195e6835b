//! How far a partition was read, for whoever reads it next.
//!
//! A message for which a client waits is run by the first that reads it and by
//! nobody else, with nothing written before the run: that is what keeps a warm
//! call at two hops. So the next reader has to know what the one before it may
//! have read. The one before says so *ahead*: with each commit it writes up to
//! where it may read until the next one. Below that bound, after a crash, a
//! message is in doubt; beyond it nobody had it.
//!
//! The bound runs ahead by a step. A large step leaves much in doubt, a small
//! one costs a commit every few messages. So it grows while it is hit, and
//! shrinks when nothing comes.

/// Smallest step, and that of a quiet reader.
const LEAST: i64 = 16;
/// Largest step: so many calls may be in doubt after a crash.
const MOST: i64 = 1024;

/// The bounds of one partition, as long as it is this reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    doubtful_below: i64,
    granted: i64,
    step: i64,
}

impl Reads {
    /// A partition whose last reader may have read everything below this.
    pub fn after(bound: i64) -> Self {
        Self { doubtful_below: bound, granted: bound, step: LEAST }
    }

    /// Whether an earlier reader may have had it.
    pub fn is_doubtful(&self, offset: i64) -> bool {
        offset < self.doubtful_below
    }

    /// Whether it may be given out: the bound that was written is beyond it.
    pub fn may_read(&self, offset: i64) -> bool {
        offset < self.granted
    }

    /// What is written already.
    pub fn granted(&self) -> i64 {
        self.granted
    }

    /// The bound to write before `offset` may be given out; larger each time.
    pub fn wanted(&mut self, offset: i64) -> i64 {
        self.step = (self.step * 2).min(MOST);
        (offset + self.step).max(self.granted)
    }

    /// The bound to write ahead of need, now that all below `next` was read,
    /// if less than half a step is left.
    pub fn ahead(&self, next: i64) -> Option<i64> {
        (self.granted - next < self.step / 2).then_some(next + self.step).filter(|bound| *bound > self.granted)
    }

    /// The bound to write when nothing came for a while, if that leaves less
    /// in doubt.
    pub fn quiet(&mut self, next: i64) -> Option<i64> {
        self.step = LEAST;
        let bound = (next + LEAST).max(self.doubtful_below);
        (bound < self.granted).then_some(bound)
    }

    /// A bound is written.
    pub fn grant(&mut self, bound: i64) {
        self.granted = bound;
    }
}

/// The bound as it stands in a commit's metadata; of a commit that says
/// nothing, as OpenWhisk's, nothing beyond it was read.
pub(crate) fn bound_of(metadata: &str, committed: i64) -> i64 {
    let bound = metadata.strip_prefix("read<").and_then(|bound| bound.parse().ok());
    bound.unwrap_or(committed).max(committed)
}

/// The metadata that says so.
pub(crate) fn metadata(bound: i64) -> String {
    format!("read<{bound}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_earlier_reader_reserved_is_in_doubt() {
        let reads = Reads::after(40);
        assert!(reads.is_doubtful(39) && !reads.is_doubtful(40));
        assert!(reads.may_read(39) && !reads.may_read(40));
    }

    #[test]
    fn the_bound_runs_further_ahead_while_it_is_hit_and_falls_back_in_silence() {
        let mut reads = Reads::after(0);
        let mut next = 0;
        for _ in 0..20 {
            let bound = reads.wanted(next);
            assert!(bound > next);
            reads.grant(bound);
            next = bound;
        }
        assert_eq!(reads.wanted(next) - next, MOST);
        reads.grant(next + MOST);
        assert_eq!(reads.quiet(next), Some(next + LEAST));
        reads.grant(next + LEAST);
        assert_eq!(reads.quiet(next), None);
        assert_eq!(reads.ahead(next), None);
        assert_eq!(reads.ahead(next + LEAST / 2 + 1), Some(next + LEAST / 2 + 1 + LEAST));
    }

    #[test]
    fn a_bound_is_read_as_it_was_written() {
        assert_eq!(bound_of(&metadata(77), 5), 77);
        assert_eq!(bound_of(&metadata(3), 5), 5, "never below the commit");
        for other in ["", "read<", "read<x", "something else"] {
            assert_eq!(bound_of(other, 5), 5);
        }
    }

    proptest! {
        /// However reading, silence and crashes follow each other: what was
        /// given out and not committed is in doubt for the next reader.
        #[test]
        fn what_was_read_is_in_doubt_later(acts in prop::collection::vec(0..4u8, 1..200)) {
            let (mut written, mut next) = (0, 0);
            let mut reads = Reads::after(written);
            for act in acts {
                match act {
                    0 | 1 => {
                        if !reads.may_read(next) {
                            written = reads.wanted(next);
                            reads.grant(written);
                        }
                        prop_assert!(reads.may_read(next));
                        next += 1;
                        if let Some(bound) = reads.ahead(next) {
                            written = bound;
                            reads.grant(bound);
                        }
                    }
                    2 => if let Some(bound) = reads.quiet(next) {
                        written = bound;
                        reads.grant(bound);
                    },
                    _ => {
                        reads = Reads::after(written);
                        prop_assert!((0..next).all(|offset| reads.is_doubtful(offset)));
                    }
                }
            }
        }
    }
}
