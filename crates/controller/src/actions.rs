//! Actions: one file for each thing that can be done with them.

mod delete;
mod get;
mod invoke;
mod list;
mod put;

use std::sync::Arc;

use whisker_api::messages;
use whisker_entity::{Action, EntityName, QualifiedName};
use whisker_store::{Document, Error, Revision, Stored};

pub(crate) use list::{list, list_package};

use crate::{
    controller::{Call, Controller},
    rejection::Rejection,
    reply::Reply,
    route::{Space, Verb},
};

/// Serves a request for one action.
pub(crate) async fn serve(
    controller: &Controller,
    call: Call<'_>,
    verb: Verb,
    space: &Space,
    package: Option<EntityName>,
    name: EntityName,
) -> Result<Reply, Rejection> {
    if verb == Verb::Activate {
        invoke::throttle(controller, &call)?;
    }
    let name = call.own_entity(space, package, name)?;
    match verb {
        Verb::Read => get::get(controller, &call, &name).await,
        Verb::Put => put::put(controller, call, name).await,
        Verb::Delete => delete::delete(controller, &name).await,
        Verb::Activate => invoke::invoke(controller, call, name).await,
    }
}

/// An action as it was read.
pub(crate) struct Found(Arc<Stored>);

impl Found {
    /// The action.
    pub fn action(&self) -> Result<&Action, Rejection> {
        match &self.0.document {
            Document::Action(action) => Ok(action),
            Document::Package(_) | Document::Trigger(_) | Document::Rule(_) => {
                Err(Rejection::Conflict(messages::OTHER_COLLECTION))
            }
        }
    }

    /// The state that was read.
    pub fn revision(&self) -> &Revision {
        &self.0.revision
    }
}

/// Reads an action. A name that is another kind of entity's is a conflict.
pub(crate) async fn find(controller: &Controller, name: &QualifiedName) -> Result<Found, Rejection> {
    let found = Found(controller.documents.get(name).await?);
    found.action()?;
    Ok(found)
}

/// Reads an action that may not exist.
async fn find_if_any(controller: &Controller, name: &QualifiedName) -> Result<Option<Found>, Rejection> {
    match controller.documents.get(name).await {
        Ok(stored) => {
            let found = Found(stored);
            found.action()?;
            Ok(Some(found))
        }
        Err(Error::Missing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
