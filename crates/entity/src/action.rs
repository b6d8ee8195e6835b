//! Actions: code with its parameters, limits and annotations.

use serde::{Deserialize, Serialize};

use crate::{ActionLimits, EntityName, EntityPath, Exec, Millis, Parameters, QualifiedName, Version};

/// An action as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Namespace, or namespace and package.
    pub namespace: EntityPath,
    /// Its name there.
    pub name: EntityName,
    /// What it executes.
    pub exec: Exec,
    /// Default arguments.
    pub parameters: Parameters,
    /// What it may use.
    pub limits: ActionLimits,
    /// Raised by every update.
    pub version: Version,
    /// Kept for clients; sharing is a matter of packages.
    pub publish: bool,
    /// Facts about it; some steer the platform.
    pub annotations: Parameters,
    /// When it was last written.
    pub updated: Millis,
}

impl Action {
    /// `ns/[pkg/]name`: the document's id.
    pub fn qualified_name(&self) -> QualifiedName {
        QualifiedName::new(self.namespace.clone(), self.name.clone())
    }
}
