//! Where a slot stands in its state: who is idle, who has room, how much
//! memory is soon free. Each change of state passes through here, so that no
//! list can disagree with the slots.

use crate::{Pool, SlotId, pool::Entry, slot::Slot};

impl<R> Pool<R> {
    /// Takes a slot off the lists that its state puts it on.
    pub(crate) fn unlist(&mut self, id: SlotId) {
        let Some(Entry { slot, shape, key, stamp, .. }) = self.slots.get(&id) else { return };
        let memory_mb = u64::from(shape.memory_mb);
        let action = key.as_ref().and_then(|key| self.actions.get_mut(key));
        match slot {
            Slot::Starting => {
                self.starting -= 1;
                if key.is_none() {
                    self.stems.started(shape);
                    self.refill_due = true;
                }
            }
            Slot::Prewarmed => {
                self.stem_mb -= memory_mb;
                self.stems.remove(shape, *stamp, id);
                self.refill_due = true;
            }
            Slot::Idle | Slot::Paused => {
                self.idle_mb -= memory_mb;
                self.idle.remove(&(*stamp, id));
                self.thawed.remove(&(*stamp, id));
            }
            Slot::Removing => self.leaving_mb -= memory_mb,
            Slot::Warming | Slot::Busy { .. } | Slot::Pausing | Slot::Resuming | Slot::Spent { .. } | Slot::Gone => {}
        }
        if let Some(action) = action {
            action.promised -= action.promise(*slot);
            match slot {
                Slot::Busy { .. } => {
                    action.open.remove(&id);
                }
                Slot::Idle | Slot::Paused => {
                    action.idle.remove(&(*stamp, id));
                }
                Slot::Starting
                | Slot::Prewarmed
                | Slot::Warming
                | Slot::Pausing
                | Slot::Resuming
                | Slot::Spent { .. }
                | Slot::Removing
                | Slot::Gone => {}
            }
        }
    }

    /// Puts a slot on the lists that its state asks for.
    pub(crate) fn list(&mut self, id: SlotId) {
        let Some(Entry { slot, shape, key, stamp, .. }) = self.slots.get(&id) else { return };
        let memory_mb = u64::from(shape.memory_mb);
        let action = key.as_ref().and_then(|key| self.actions.get_mut(key));
        match slot {
            Slot::Starting => {
                self.starting += 1;
                if key.is_none() {
                    self.stems.starts(shape);
                }
            }
            Slot::Prewarmed => {
                self.stem_mb += memory_mb;
                self.stems.add(shape, *stamp, id);
            }
            Slot::Idle | Slot::Paused => {
                self.idle_mb += memory_mb;
                self.idle.insert((*stamp, id));
                if *slot == Slot::Idle {
                    self.thawed.insert((*stamp, id));
                }
            }
            Slot::Removing => self.leaving_mb += memory_mb,
            Slot::Warming | Slot::Busy { .. } | Slot::Pausing | Slot::Resuming | Slot::Spent { .. } | Slot::Gone => {}
        }
        if let Some(action) = action {
            action.promised += action.promise(*slot);
            match slot {
                Slot::Busy { runs } => {
                    if runs.get() < action.concurrency {
                        action.open.insert(id);
                    }
                }
                Slot::Idle | Slot::Paused => {
                    action.idle.insert((*stamp, id));
                }
                Slot::Starting
                | Slot::Prewarmed
                | Slot::Warming
                | Slot::Pausing
                | Slot::Resuming
                | Slot::Spent { .. }
                | Slot::Removing
                | Slot::Gone => {}
            }
        }
    }
}
