//! What an activation asks of an invoker.

use std::{sync::Arc, time::Duration};

use whisker_entity::{EntityName, QualifiedName, Version};

/// What a container is made for. Activations that agree in all of it may share
/// one; others never do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Action {
    /// Who invokes. Two namespaces that use one public action get containers
    /// of their own, so they have no slots in common either.
    pub namespace: EntityName,
    /// What is run.
    pub name: QualifiedName,
    /// Its version: an update makes containers of the former one useless.
    pub version: Version,
    /// Its memory limit in MB: what one container of it costs.
    pub memory_mb: u32,
    /// How many runs one container takes at once; 0 counts as 1.
    pub concurrency: u32,
    /// Whether it is an image that its author brought, and not one of the
    /// kinds of the manifest.
    pub blackbox: bool,
}

impl Action {
    /// What is booked for one container; never nothing.
    pub(crate) fn cost_mb(&self) -> i64 {
        i64::from(self.memory_mb.max(1))
    }
}

/// One activation that is to be placed.
#[derive(Debug, Clone)]
pub struct Want {
    /// What it runs.
    pub action: Arc<Action>,
    /// How long the action may run.
    pub time_limit: Duration,
}
