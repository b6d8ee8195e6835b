//! What can fail that is neither a user's code nor one run's fate.

/// Why an invoker could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What a former life left on the host could not be cleared away.
    #[error("cannot clear away the containers of a former life")]
    Sweep(#[source] whisker_sandbox::Error),
    /// The spool of unwritten records cannot be opened or read.
    #[error("cannot read the spool of unwritten records")]
    Spool(#[from] whisker_journal::Error),
    /// One of its own tasks panicked.
    #[error("the invoker's task for {0} ended unexpectedly")]
    Task(&'static str),
}
