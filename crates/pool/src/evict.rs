//! Who goes when memory is short, and why in that order.
//!
//! Idle containers first, the one that was used longest ago at their head: it
//! is the least likely to be called again, and it costs its owner one cold
//! start. Prewarmed ones last: they save a cold start for whoever comes next,
//! so they are worth more than any one action's, but less than a run that
//! could otherwise never start. Busy ones never: a run is not ended for
//! another's sake.

use crate::SlotId;

/// The first of `candidates` (each with its memory in MB, in the order in
/// which they should go) that free at least `need_mb`; `None`, so that nobody
/// goes in vain, when all together would not.
pub(crate) fn choose(candidates: impl Iterator<Item = (SlotId, u32)>, need_mb: u64) -> Option<Vec<SlotId>> {
    let mut freed_mb = 0;
    let mut chosen = vec![];
    for (slot, memory_mb) in candidates {
        if freed_mb >= need_mb {
            break;
        }
        freed_mb += u64::from(memory_mb);
        chosen.push(slot);
    }
    (freed_mb >= need_mb).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_go_as_suffice_and_none_in_vain() {
        let slots = [(SlotId(1), 128), (SlotId(2), 256), (SlotId(3), 512)];
        for (need_mb, expected) in [
            (0, Some(vec![])),
            (1, Some(vec![SlotId(1)])),
            (128, Some(vec![SlotId(1)])),
            (129, Some(vec![SlotId(1), SlotId(2)])),
            (896, Some(vec![SlotId(1), SlotId(2), SlotId(3)])),
            (897, None),
        ] {
            assert_eq!(choose(slots.into_iter(), need_mb), expected, "{need_mb} MB");
        }
    }
}
