//! Subjects as members keep them where keys are encrypted.
//!
//! Who reads a dump of the store, or a backup of it, must not be able to act
//! as its users. So a row keeps a subject's whole document sealed, and is found
//! by what stands for the uuids of its namespaces. Names stay in clear: lists
//! are ordered by them. With no key all is as it was, and what was written in
//! clear is read all the same.

use whisker_entity::Subject;
use whisker_secrets::Seals;

use crate::Error;

/// A subject's document, as it is kept.
pub fn document(seals: &Seals, subject: &Subject) -> Result<String, Error> {
    let text = serde_json::to_string(subject).map_err(|e| corrupt(&subject.subject, e))?;
    Ok(seals.seal_text(&place(&subject.subject), text))
}

/// The subject of a document that is kept under a name.
pub fn subject(seals: &Seals, name: &str, kept: &str) -> Result<Subject, Error> {
    let opened = seals.open_text(&place(name), kept).map_err(|e| corrupt(name, e))?;
    serde_json::from_str(opened.as_deref().unwrap_or(kept)).map_err(|e| corrupt(name, e))
}

/// What the seals are bound to: nobody's document passes for another's.
fn place(name: &str) -> String {
    format!("subject {name}")
}

fn corrupt(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Corrupt(name.to_owned(), error.into())
}
