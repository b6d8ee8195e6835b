//! Writing everything that is encrypted under the newest key.

use serde_json::value::to_raw_value;
use whisker_entity::{Parameters, QualifiedName};
use whisker_store::{Document, Error, Portion, Stored};

use crate::{Answer, Parts, perform::chain};

/// Read in one step.
const PORTION: Portion = Portion { limit: 256, max_bytes: 8 << 20 };
/// How often a document is read again that others write meanwhile.
const ATTEMPTS: usize = 5;
/// Documents that stay as they are, of which the names are told.
const TOLD: usize = 100;

/// What was done.
#[derive(Default)]
struct Done {
    users: u64,
    documents: u64,
    left: Vec<String>,
    left_count: u64,
}

impl Done {
    fn leave(&mut self, name: String) {
        self.left_count += 1;
        if self.left.len() < TOLD {
            self.left.push(name);
        }
    }
}

/// Writes subjects and parameters that are in clear, or under an older key.
/// Broken off it can be done again: what is right already is left alone.
pub(crate) async fn perform(parts: &Parts) -> Answer {
    if !parts.secrets.is_encrypting() {
        return Answer::failed("there is no key to encrypt with: see --parameter-encryption");
    }
    let mut done = Done::default();
    let outcome = match subjects(parts, &mut done).await {
        Ok(()) => documents(parts, &mut done).await,
        failed => failed,
    };
    let Done { users, documents, left, left_count } = done;
    let mut answer = Answer::line(format!("written: {users} users, {documents} actions and packages"));
    if left_count > 0 {
        answer.complaints.push(format!("left as they are, since no key fits: {left_count}"));
        answer.complaints.extend(left);
        answer.code = 1;
    }
    if let Err(error) = outcome {
        answer.complaints.push(format!("not all was done: {}", chain(&error)));
        answer.code = 1;
    }
    answer
}

async fn subjects(parts: &Parts, done: &mut Done) -> Result<(), Error> {
    let mut after = None;
    loop {
        let renewed = parts.subjects.renew(after.as_ref()).await?;
        done.users += renewed.written;
        renewed.left.into_iter().for_each(|name| done.leave(name));
        after = renewed.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn documents(parts: &Parts, done: &mut Done) -> Result<(), Error> {
    let mut after = None;
    loop {
        let scan = parts.entities.scan(after.as_ref(), PORTION).await?;
        for item in scan.items {
            match item {
                Ok(stored) => document(parts, stored, done).await?,
                Err(Error::Corrupt(name, _)) => done.leave(name),
                Err(error) => return Err(error),
            }
        }
        after = scan.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Triggers' parameters are not encrypted, and rules have none.
fn parameters(document: &mut Document) -> Option<&mut Parameters> {
    match document {
        Document::Action(action) => Some(&mut action.parameters),
        Document::Package(package) => Some(&mut package.parameters),
        Document::Trigger(_) | Document::Rule(_) => None,
    }
}

async fn document(parts: &Parts, mut stored: Stored, done: &mut Done) -> Result<(), Error> {
    let name: QualifiedName = stored.document.qualified_name();
    for _ in 0..ATTEMPTS {
        let Some(there) = parameters(&mut stored.document) else { return Ok(()) };
        let locked = parts.secrets.lock(there.clone()).map_err(|error| Error::Unavailable(error.into()))?;
        if !opens(parts, &locked) {
            done.leave(name.to_string());
            return Ok(());
        }
        if locked == *there {
            return Ok(());
        }
        *there = locked;
        match parts.entities.put(&stored.document, Some(&stored.revision)).await {
            Ok(_) => {
                done.documents += 1;
                return Ok(());
            }
            // Someone else wrote it, or the last action that shared its code.
            Err(Error::Stale | Error::Missing) => {}
            Err(error) => return Err(error),
        }
        stored = match parts.entities.get(&name).await {
            Ok(stored) => stored,
            Err(Error::Missing) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
    Err(Error::Stale)
}

/// Whether there is a key for each of these.
fn opens(parts: &Parts, locked: &Parameters) -> bool {
    locked.iter().all(|parameter| match &parameter.encryption {
        Some(by) => to_raw_value(&parameter.value).is_ok_and(|value| parts.secrets.unlock(by, &value).is_ok()),
        None => true,
    })
}
