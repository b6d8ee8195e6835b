//! What an earlier life left in the journal, made a ledger of.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use whisker_bus::Redelivered;
use whisker_entity::{ActivationId, Millis};
use whisker_journal::{Journal, Token};

use crate::aside::Share;
use crate::bus::Recovered;
use crate::entry::{self, Entry};
use crate::ledger::{Ledger, Restored, Wait};

/// What a clock that was set back cannot make longer: no pause is.
const LONGEST: Duration = Duration::from_secs(3600);

/// What there is of one message beside itself.
#[derive(Default)]
struct History {
    /// Starts, by how many runs had failed before.
    starts: BTreeMap<u32, Token>,
    /// Runs that failed, by their number, and when the next one is due.
    failures: BTreeMap<u32, (Token, Millis)>,
    letter: Option<Token>,
}

/// Reads the live entries of the journal into a ledger.
pub(crate) fn restore(
    journal: &Journal,
    recovered: &mut Recovered,
    now: Option<Millis>,
) -> Result<Ledger, whisker_journal::Error> {
    let mut messages: Vec<(ActivationId, Token, usize, Redelivered)> = Vec::new();
    let mut seen = HashMap::new();
    let mut histories: HashMap<ActivationId, History> = HashMap::new();
    let mut unneeded = Vec::new();
    for live in &recovered.journal.live {
        let token = live.token;
        match entry::read(live.tag, &journal.read(token)?.payload) {
            Some(Entry::Message { id, redelivered }) => match seen.entry(id) {
                Slot::Vacant(first) => {
                    first.insert(messages.len());
                    messages.push((id, token, live.bytes, redelivered));
                }
                // Written twice, and one of them not withdrawn in time. The
                // first keeps its turn; a start that either knows of counts.
                Slot::Occupied(first) => {
                    if redelivered == Redelivered::AfterStart {
                        messages[*first.get()].3 = redelivered;
                    }
                    unneeded.push(token);
                }
            },
            // Of several of one number the last one written counts.
            Some(Entry::Started { id, number }) => {
                unneeded.extend(histories.entry(id).or_default().starts.insert(number, token));
            }
            Some(Entry::Failed { id, number, due }) => {
                let earlier = histories.entry(id).or_default().failures.insert(number, (token, due));
                unneeded.extend(earlier.map(|(token, _)| token));
            }
            Some(Entry::Letter { id }) => unneeded.extend(histories.entry(id).or_default().letter.replace(token)),
            None => {
                recovered.unreadable += 1;
                tracing::error!(
                    journal.token = %token,
                    "The journal of the bus has an entry that this version cannot read"
                );
            }
        }
    }
    let mut ledger = Ledger::default();
    for (id, token, bytes, redelivered) in messages {
        let History { mut starts, failures, letter } = histories.remove(&id).unwrap_or_default();
        let runs = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        let start = starts.remove(&runs);
        unneeded.extend(starts.into_values());
        let started = start.is_some() || (runs == 0 && redelivered == Redelivered::AfterStart);
        let redelivered = if started { Redelivered::AfterStart } else { Redelivered::No };
        let due = failures.values().last().map(|(_, due)| *due);
        let share = || {
            // Without its namespace it counts for nobody in particular.
            let message = journal.read(token).ok().and_then(|entry| entry::parse(&entry.payload).ok())?;
            Some(Share { namespace: message.user.namespace.clone(), bytes })
        };
        let wait = match (letter, due) {
            (Some(letter), _) => share().map_or(Wait::Turn, |share| Wait::Letter(share, letter)),
            (None, Some(due)) if !started => share().map_or(Wait::Turn, |share| Wait::Due(share, instant(due, now))),
            (None, _) => Wait::Turn,
        };
        match (&wait, redelivered) {
            (Wait::Letter(..), _) => recovered.letters += 1,
            (Wait::Due(..), _) => recovered.waiting += 1,
            (Wait::Turn, Redelivered::AfterStart) => recovered.interrupted += 1,
            (Wait::Turn, Redelivered::No) => recovered.queued += 1,
        }
        let attempts = failures.into_values().map(|(token, _)| token).collect();
        ledger.restore(Restored { id, token, bytes, start, redelivered, attempts, wait });
    }
    for History { starts, failures, letter } in histories.into_values() {
        unneeded.extend(starts.into_values().chain(failures.into_values().map(|(token, _)| token)).chain(letter));
    }
    journal.release_all(unneeded);
    Ok(ledger)
}

fn instant(due: Millis, now: Option<Millis>) -> Instant {
    let after = now.map_or(Duration::ZERO, |now| Duration::from_millis(due.saturating_sub(now)));
    Instant::now() + after.min(LONGEST)
}
