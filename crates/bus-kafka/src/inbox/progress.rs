//! How far each partition is, of those that are read here.

use std::{collections::BTreeMap, sync::Arc};

use crate::offsets::Offsets;

/// A partition, as one of several readers has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Tells readers apart: two may follow each other in one partition.
    pub reader: u64,
    /// The topic's full name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In which partition.
    pub part: Part,
    /// Where in it.
    pub offset: i64,
}

#[derive(Debug)]
struct Progress {
    offsets: Offsets,
    /// Below this, messages were or may have been given out, here or before.
    given: i64,
}

/// All that are read here.
#[derive(Debug, Default)]
pub(super) struct Partitions(BTreeMap<Part, Progress>);

impl Partitions {
    pub fn assigned(&mut self, part: Part, from: i64, bound: i64) {
        self.0.insert(part, Progress { offsets: Offsets::starting_at(from), given: bound.max(from) });
    }

    pub fn revoked(&mut self, part: &Part) {
        self.0.remove(part);
    }

    /// A message was read; `false` where it was before, or is nothing to us.
    pub fn read(&mut self, place: &Place) -> bool {
        self.0.get_mut(&place.part).is_some_and(|part| part.offsets.read(place.offset))
    }

    /// A message was given out.
    pub fn give(&mut self, place: &Place) {
        if let Some(part) = self.0.get_mut(&place.part) {
            part.given = part.given.max(place.offset + 1);
        }
    }

    /// A message is done.
    pub fn pass(&mut self, place: &Place) {
        if let Some(part) = self.0.get_mut(&place.part) {
            part.offsets.done(place.offset);
        }
    }

    pub fn position(&self, part: &Part) -> Option<i64> {
        Some(self.0.get(part)?.offsets.position())
    }

    pub fn next(&self, part: &Part) -> i64 {
        self.0.get(part).map_or(0, |part| part.offsets.next())
    }

    pub fn given(&self, part: &Part) -> i64 {
        self.0.get(part).map_or(0, |part| part.given)
    }
}
