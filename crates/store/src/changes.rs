//! Hearing of what other servers write.
//!
//! Whoever keeps what it read (the controller's documents and identities) must
//! forget it when another server on the same store writes. A store that only
//! one process uses has nothing to say: all writes come through that process.

use tokio::sync::broadcast::{self, error::RecvError};
use whisker_entity::QualifiedName;

/// Something was written, by this process or another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This document was written or deleted.
    Document(QualifiedName),
    /// It is not known what: nothing that was read before is sure.
    Anything,
}

/// Changes since this was made, in no particular order.
///
/// They come late, by a few milliseconds as a rule; after the way to the store
/// was cut, not before it is there again, and then as [`Change::Anything`].
#[derive(Debug)]
pub struct Changes(Option<broadcast::Receiver<Change>>);

impl Changes {
    /// Of a store that nobody else writes to.
    pub fn none() -> Self {
        Self(None)
    }

    /// Waits for the next one; for ever where there are none.
    pub async fn next(&mut self) -> Change {
        let Some(receiver) = &mut self.0 else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(change) => change,
            // More came than were waited for: some are lost.
            Err(RecvError::Lagged(_)) => Change::Anything,
            Err(RecvError::Closed) => {
                self.0 = None;
                std::future::pending().await
            }
        }
    }
}

impl From<broadcast::Receiver<Change>> for Changes {
    fn from(receiver: broadcast::Receiver<Change>) -> Self {
        Self(Some(receiver))
    }
}
