//! What a store can answer other than what was asked for.

/// Failures of a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such document.
    #[error("no such document")]
    Missing,
    /// The document is not as the writer read it, or its name is taken.
    #[error("the document has changed")]
    Stale,
    /// More is asked for than may be held at once: ask for less of it.
    #[error("the documents have more than {0} bytes together")]
    TooLarge(u64),
    /// What is stored cannot be understood.
    #[error("the stored document {0} cannot be read")]
    Corrupt(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store does not answer, is full, or refuses: it may work later.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
