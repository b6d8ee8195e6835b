//! What can go wrong on the bus.

/// Failures of the bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue is at its bound: the caller should try later.
    #[error("the queue holds {0} messages and takes no more")]
    Full(usize),
    /// The message could not be made durable, or the bus is closed.
    #[error("the bus is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Somebody else began to run this activation, or saw it through: it is
    /// neither to be run nor to be recorded here.
    #[error("somebody else has this activation")]
    Taken,
}
