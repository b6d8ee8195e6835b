//! Messages of our own topics.

use serde::{Deserialize, Serialize};
use whisker_bus::{ActivationMessage, Attempt, Incarnation, InvokerId, Letter};
use whisker_entity::{ActivationId, Millis};

use crate::claims::{Claimant, Note};

/// What is written to `claims`, under the activation's id as key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    activation_id: ActivationId,
    #[serde(default, skip_serializing_if = "is_zero")]
    run: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invoker: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<Incarnation>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Claim {
    pub fn new(activation: ActivationId, note: Note) -> Self {
        let (run, by) = match note {
            Note::Claim { run, by } => (run, Some(by)),
            Note::Over => (0, None),
        };
        Self {
            activation_id: activation,
            run,
            invoker: by.map(|by| by.invoker.0),
            incarnation: by.map(|by| by.incarnation),
        }
    }

    /// A claim without a claimant is the end of all claims.
    pub fn read(payload: &[u8]) -> serde_json::Result<(ActivationId, Note)> {
        let Claim { activation_id, run, invoker, incarnation } = serde_json::from_slice(payload)?;
        let note = match (invoker, incarnation) {
            (Some(invoker), Some(incarnation)) => {
                Note::Claim { run, by: Claimant { invoker: InvokerId(invoker), incarnation } }
            }
            _ => Note::Over,
        };
        Ok((activation_id, note))
    }
}

/// What is written to `retries`: a message that runs again once it is due.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Again<'a> {
    pub due: Millis,
    pub earlier: &'a [Attempt],
    pub message: &'a ActivationMessage,
}

/// The same, read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgainRead {
    pub due: Millis,
    pub earlier: Vec<Attempt>,
    pub message: ActivationMessage,
}

/// What is written to `letters`.
#[derive(Serialize)]
pub(crate) struct Post<'a> {
    pub letter: &'a Letter,
    pub message: &'a ActivationMessage,
}

/// The same, read.
#[derive(Deserialize)]
pub(crate) struct PostRead {
    pub letter: Letter,
    pub message: ActivationMessage,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn notes_read_back() {
        let id = ActivationId::new(1, 2);
        let by = Claimant { invoker: InvokerId(3), incarnation: Incarnation(9) };
        for note in [Note::Claim { run: 0, by }, Note::Claim { run: 2, by }, Note::Over] {
            let text = serde_json::to_vec(&Claim::new(id, note)).unwrap();
            assert_eq!(Claim::read(&text).unwrap(), (id, note));
        }
        for text in ["", "{}", "[]", r#"{"activationId":"x"}"#] {
            assert!(Claim::read(text.as_bytes()).is_err());
        }
    }
}
