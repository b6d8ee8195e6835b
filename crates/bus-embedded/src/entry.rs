//! What the bus writes to its journal.
//!
//! ```text
//! tag 1, 2   id (16 bytes) │ message as JSON          accepted; accepted when already started
//! tag 3      id │ number (4)                          started, for that time counted from 0
//! tag 4      id │ number (4) │ due (8) │ attempt      failed for that time counted from 1; due again
//! tag 5      id │ letter as JSON                      failed for good, and a trigger is to hear of it
//! ```
//!
//! The id stands in front so that a message is found again without parsing
//! JSON that another version wrote. Starts and failures have numbers, since a
//! release may be lost with a crash: a start counts only if it is that of the
//! run after the last failure. A start without a number is the first.

use whisker_bus::{ActivationMessage, Attempt, Letter, Redelivered};
use whisker_entity::{ActivationId, Millis};

const ACCEPTED: u8 = 1;
const ACCEPTED_AFTER_START: u8 = 2;
const STARTED: u8 = 3;
const FAILED: u8 = 4;
const LETTER: u8 = 5;

/// Where an attempt's JSON begins.
const ATTEMPT: usize = 16 + 4 + 8;

/// An entry of the journal, as far as recovery needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Message { id: ActivationId, redelivered: Redelivered },
    Started { id: ActivationId, number: u32 },
    Failed { id: ActivationId, number: u32, due: Millis },
    Letter { id: ActivationId },
}

/// Tag and payload for a message that is accepted now.
pub(crate) fn message(message: &ActivationMessage, started: bool) -> serde_json::Result<(u8, Vec<u8>)> {
    let mut payload = Vec::with_capacity(1024 + message.content.get().len());
    payload.extend_from_slice(&message.activation.to_bytes());
    serde_json::to_writer(&mut payload, message)?;
    Ok((if started { ACCEPTED_AFTER_START } else { ACCEPTED }, payload))
}

/// Tag and payload for a run that is about to start, after so many failed.
pub(crate) fn started(id: ActivationId, number: u32) -> (u8, Vec<u8>) {
    (STARTED, [&id.to_bytes()[..], &number.to_le_bytes()].concat())
}

/// Tag and payload for a failed run, the `number`th, of what is due again.
pub(crate) fn failed(
    id: ActivationId,
    number: u32,
    due: Millis,
    attempt: &Attempt,
) -> serde_json::Result<(u8, Vec<u8>)> {
    let mut payload = [&id.to_bytes()[..], &number.to_le_bytes(), &due.to_le_bytes()].concat();
    serde_json::to_writer(&mut payload, attempt)?;
    Ok((FAILED, payload))
}

/// Tag and payload for a dead letter.
pub(crate) fn letter(id: ActivationId, letter: &Letter) -> serde_json::Result<(u8, Vec<u8>)> {
    let mut payload = id.to_bytes().to_vec();
    serde_json::to_writer(&mut payload, letter)?;
    Ok((LETTER, payload))
}

/// `None` for an entry that this version did not write.
pub(crate) fn read(tag: u8, payload: &[u8]) -> Option<Entry> {
    let (id, rest) = payload.split_first_chunk::<16>()?;
    let id = ActivationId::from_bytes(*id);
    match tag {
        ACCEPTED => Some(Entry::Message { id, redelivered: Redelivered::No }),
        ACCEPTED_AFTER_START => Some(Entry::Message { id, redelivered: Redelivered::AfterStart }),
        STARTED if rest.is_empty() => Some(Entry::Started { id, number: 0 }),
        STARTED => Some(Entry::Started { id, number: u32::from_le_bytes(rest.try_into().ok()?) }),
        FAILED => {
            let (number, rest) = rest.split_first_chunk::<4>()?;
            let (due, _) = rest.split_first_chunk::<8>()?;
            Some(Entry::Failed { id, number: u32::from_le_bytes(*number), due: Millis::from_le_bytes(*due) })
        }
        LETTER => Some(Entry::Letter { id }),
        _ => None,
    }
}

/// The message out of a payload that [`read`] took for one.
pub(crate) fn parse(payload: &[u8]) -> serde_json::Result<ActivationMessage> {
    serde_json::from_slice(payload.get(16..).unwrap_or_default())
}

/// The same of a failed run.
pub(crate) fn parse_attempt(payload: &[u8]) -> serde_json::Result<Attempt> {
    serde_json::from_slice(payload.get(ATTEMPT..).unwrap_or_default())
}

/// The same of a letter.
pub(crate) fn parse_letter(payload: &[u8]) -> serde_json::Result<Letter> {
    serde_json::from_slice(payload.get(16..).unwrap_or_default())
}
