//! Whether a sequence may be: its components exist, none of them leads back
//! to it, and together they are not too many.

use std::{future::Future, pin::Pin};

use whisker_api::messages;
use whisker_entity::{Action, Exec, QualifiedName};

use crate::{
    controller::Controller,
    found::{Found, find},
    rejection::Rejection,
    resolve::Provider,
};

/// Checks the components of a sequence that is to be called `name`, after
/// its writer was found entitled to them.
pub async fn check(
    controller: &Controller,
    name: &QualifiedName,
    components: &[QualifiedName],
) -> Result<(), Rejection> {
    if components.is_empty() {
        return Err(refused(messages::SEQUENCE_EMPTY));
    }
    let limit = controller.config.limits.sequence_length;
    let search = Search { controller, name, limit };
    let mut atoms = 0;
    search.through(components, 0, &mut atoms).await
}

fn refused(words: &str) -> Rejection {
    Rejection::Bad(words.into())
}

/// A walk through a sequence and those in it.
struct Search<'a> {
    controller: &'a Controller,
    name: &'a QualifiedName,
    limit: u32,
}

impl<'a> Search<'a> {
    /// Counts the actions that are no sequences, and ends as soon as there
    /// are too many: so the walk is short, however sequences contain others.
    fn through<'s>(
        &'s self,
        components: &'s [QualifiedName],
        depth: u32,
        atoms: &'s mut u32,
    ) -> Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send + 's>> {
        Box::pin(async move {
            if components.len() > self.limit as usize {
                return Err(refused(messages::SEQUENCE_TOO_LONG));
            }
            // Others may have made a ring meanwhile, with no end to walk to.
            if depth > self.limit {
                return Err(refused(messages::SEQUENCE_CYCLIC));
            }
            for component in components {
                let component = self.component(component).await?;
                if let Exec::Sequence { components } = &component.exec {
                    self.through(components, depth + 1, atoms).await?;
                } else {
                    *atoms += 1;
                }
                if *atoms > self.limit {
                    return Err(refused(messages::SEQUENCE_TOO_LONG));
                }
            }
            Ok(())
        })
    }

    /// A component, behind whatever binding; it is not the sequence itself,
    /// which need not exist yet.
    async fn component(&self, name: &QualifiedName) -> Result<Found<Action>, Rejection> {
        let absent = |rejection| match rejection {
            Rejection::Missing => refused(messages::COMPONENT_MISSING),
            other => other,
        };
        let real = match name.package() {
            None => name.clone(),
            Some(package) => {
                let provider = Provider::of(self.controller, &package).await.map_err(absent)?;
                QualifiedName::new(provider.package.path(), name.name.clone())
            }
        };
        if real == *self.name {
            return Err(refused(messages::SEQUENCE_CYCLIC));
        }
        find(self.controller, &real).await.map_err(absent)
    }
}
