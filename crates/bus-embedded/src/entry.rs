//! What the bus writes to its journal.
//!
//! ```text
//! tag 1, 2   id (16 bytes) │ message as JSON     accepted; accepted when already started
//! tag 3      id                                  started
//! ```
//!
//! The id stands in front so that a message is found again without parsing
//! JSON that another version wrote.

use whisker_bus::{ActivationMessage, Redelivered};
use whisker_entity::ActivationId;

const ACCEPTED: u8 = 1;
const ACCEPTED_AFTER_START: u8 = 2;
const STARTED: u8 = 3;

/// An entry of the journal, as far as recovery needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Message { id: ActivationId, redelivered: Redelivered },
    Started { id: ActivationId },
}

/// Tag and payload for a message that is accepted now.
pub(crate) fn message(message: &ActivationMessage, started: bool) -> serde_json::Result<(u8, Vec<u8>)> {
    let mut payload = Vec::with_capacity(1024 + message.content.get().len());
    payload.extend_from_slice(&message.activation.to_bytes());
    serde_json::to_writer(&mut payload, message)?;
    Ok((if started { ACCEPTED_AFTER_START } else { ACCEPTED }, payload))
}

/// Tag and payload for a run that is about to start.
pub(crate) fn started(id: ActivationId) -> (u8, [u8; 16]) {
    (STARTED, id.to_bytes())
}

/// `None` for an entry that this version did not write.
pub(crate) fn read(tag: u8, payload: &[u8]) -> Option<Entry> {
    let (id, rest) = payload.split_first_chunk::<16>()?;
    let id = ActivationId::from_bytes(*id);
    match tag {
        ACCEPTED => Some(Entry::Message { id, redelivered: Redelivered::No }),
        ACCEPTED_AFTER_START => Some(Entry::Message { id, redelivered: Redelivered::AfterStart }),
        STARTED if rest.is_empty() => Some(Entry::Started { id }),
        _ => None,
    }
}

/// The message out of a payload that [`read`] took for one.
pub(crate) fn parse(payload: &[u8]) -> serde_json::Result<ActivationMessage> {
    serde_json::from_slice(payload.get(16..).unwrap_or_default())
}
