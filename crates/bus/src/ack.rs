//! Acknowledgements: outcomes on their way back.

mod wire;

use std::sync::Arc;

use whisker_entity::{Activation, ActivationId, Millis, TransactionId};

use crate::{ControllerId, InvokerId};

pub use wire::{AckMessage, AckResponse};

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
        /// When that request began.
        began: Millis,
        /// The record so far: all but its logs.
        activation: Arc<Activation>,
    },
    /// The outcome is known, but was too large to travel, or came from an
    /// invoker that does not send it: it is in the record.
    Recorded {
        /// Whose message it was.
        controller: ControllerId,
        /// The request it belongs to.
        transaction: TransactionId,
        /// When that request began.
        began: Millis,
        /// Which run.
        activation: ActivationId,
    },
    /// The run is over and its memory free.
    Completion {
        /// Whose message it was.
        controller: ControllerId,
        /// The request it belongs to.
        transaction: TransactionId,
        /// When that request began.
        began: Millis,
        /// Which run.
        activation: ActivationId,
        /// Whether the platform, not the function, failed.
        system_error: bool,
        /// Where it ran.
        invoker: InvokerId,
    },
}

impl Acknowledgement {
    /// Whose message it was.
    pub fn controller(&self) -> &ControllerId {
        match self {
            Self::Result { controller, .. }
            | Self::Recorded { controller, .. }
            | Self::Completion { controller, .. } => controller,
        }
    }

    /// Which run it is about.
    pub fn activation(&self) -> ActivationId {
        match self {
            Self::Result { activation, .. } => activation.id,
            Self::Recorded { activation, .. } | Self::Completion { activation, .. } => *activation,
        }
    }
}
