//! What is told between servers, and to those of this process who listen.
//!
//! A change is one text on one channel: `d` and the name of a document, or `s`
//! for a subject or limits. A name has at most 770 bytes, a text may have
//! 8,000.

use tokio::sync::broadcast;
use whisker_entity::QualifiedName;
use whisker_store::{Change, Changes};

/// The channel, for `LISTEN` and `NOTIFY`.
pub(crate) const CHANNEL: &str = "whisker_changes";

/// The text that tells of a changed subject or changed limits.
pub(crate) const SUBJECTS: &str = "s";

/// The text that tells of a changed document.
pub(crate) fn of_document(name: &str) -> String {
    format!("d{name}")
}

/// Changes that a listener may be behind; beyond that it is told that it does
/// not know them all.
const BEHIND_MAX: usize = 1024;

/// The way from the database's connection to those who listen.
#[derive(Clone)]
pub(crate) struct News {
    documents: broadcast::Sender<Change>,
    subjects: broadcast::Sender<Change>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self { documents: broadcast::Sender::new(BEHIND_MAX), subjects: broadcast::Sender::new(BEHIND_MAX) }
    }

    pub(crate) fn of_documents(&self) -> Changes {
        self.documents.subscribe().into()
    }

    pub(crate) fn of_subjects(&self) -> Changes {
        self.subjects.subscribe().into()
    }

    /// Passes on what another server told.
    pub(crate) fn hear(&self, text: &str) {
        // Without anyone who listens there is nobody to tell.
        let _ = match text.split_at_checked(1) {
            Some(("d", name)) => match name.parse::<QualifiedName>() {
                Ok(name) => self.documents.send(Change::Document(name)),
                Err(_) => self.documents.send(Change::Anything),
            },
            Some(("s", _)) => self.subjects.send(Change::Anything),
            // Of a later version: who knows what it changes.
            _ => return self.missed(),
        };
    }

    /// Some changes may not have been heard.
    pub(crate) fn missed(&self) {
        let _ = self.documents.send(Change::Anything);
        let _ = self.subjects.send(Change::Anything);
    }
}
