//! Acknowledgements: outcomes on their way back.

use std::sync::Arc;

use whisker_entity::{Activation, ActivationId, TransactionId};

use crate::{ControllerId, InvokerId};

/// What an invoker tells the controller that a message came from.
///
/// A blocking activation's result comes as soon as it is known, before logs
/// are collected; the completion, which frees its place, after.
#[derive(Debug, Clone)]
pub enum Acknowledgement {
    /// The outcome, without logs, for a caller that waits.
    Result {
        /// Whose message it was.
        controller: ControllerId,
        /// The request it belongs to.
        transaction: TransactionId,
        /// The record so far: all but its logs.
        activation: Arc<Activation>,
    },
    /// The run is over and its memory free.
    Completion {
        /// Whose message it was.
        controller: ControllerId,
        /// The request it belongs to.
        transaction: TransactionId,
        /// Which run.
        activation: ActivationId,
        /// Whether the platform, not the function, failed.
        system_error: bool,
        /// Where it ran.
        invoker: InvokerId,
    },
}
