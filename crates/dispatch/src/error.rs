//! Why an activation was not handed over.

use whisker_placement::Refusal;

/// Nothing will come of the activation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No invoker takes it, or too much is under way.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The bus did not take it.
    #[error(transparent)]
    Bus(#[from] whisker_bus::Error),
}
