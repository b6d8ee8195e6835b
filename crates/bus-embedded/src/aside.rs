//! What waits beside the queue: messages for the time of their next run, and
//! dead letters for whoever posts them. All of it is in the journal; here is
//! the order, and the bounds.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;
use whisker_entity::{ActivationId, EntityName};

use crate::ledger::Load;

/// One namespace gets this part of the places, so that its failing function
/// leaves retries to others.
const PARTS: usize = 4;

/// Everything that waits aside.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// By time; of the same time in the order in which they came.
    later: BTreeMap<(Instant, u64), ActivationId>,
    turns: u64,
    /// Letters, in their order.
    pub letters: VecDeque<ActivationId>,
    load: Load,
    namespaces: HashMap<EntityName, usize>,
}

/// What one message takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub namespace: EntityName,
    pub bytes: usize,
}

impl Aside {
    /// Whether one more may wait.
    pub fn has_room(&self, share: &Share, limit: Load) -> bool {
        let own = self.namespaces.get(&share.namespace).copied().unwrap_or(0);
        self.load.messages < limit.messages
            && self.load.bytes + share.bytes <= limit.bytes
            && own < limit.messages.div_ceil(PARTS)
    }

    /// Counts one in.
    pub fn add(&mut self, share: &Share) {
        self.load.messages += 1;
        self.load.bytes += share.bytes;
        *self.namespaces.entry(share.namespace.clone()).or_default() += 1;
    }

    /// Counts one out.
    pub fn free(&mut self, share: &Share) {
        self.load.messages -= 1;
        self.load.bytes -= share.bytes;
        if let Some(own) = self.namespaces.get_mut(&share.namespace) {
            *own -= 1;
            if *own == 0 {
                self.namespaces.remove(&share.namespace);
            }
        }
    }

    /// Lets a message wait for its time.
    pub fn wait(&mut self, id: ActivationId, due: Instant) {
        self.turns += 1;
        self.later.insert((due, self.turns), id);
    }

    /// When the first of them is due.
    pub fn soonest(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes that one.
    pub fn pop(&mut self) -> Option<ActivationId> {
        self.later.pop_first().map(|(_, id)| id)
    }

    /// How much waits.
    pub fn load(&self) -> Load {
        self.load
    }
}
