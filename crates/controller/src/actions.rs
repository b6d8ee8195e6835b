//! Actions: one file for each thing that can be done with them.

mod delete;
mod get;
mod invoke;
mod list;
mod put;

use whisker_api::messages;
use whisker_entity::{EntityName, EntityPath, Package, QualifiedName};

pub(crate) use list::list_package;

use crate::{
    controller::{Call, Controller},
    entitle,
    found::find,
    invocation,
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
    let path = EntityPath { package, ..space.resolve(&call.who.namespace) };
    let name = QualifiedName::new(path, name);
    match verb {
        Verb::Read => {
            entitle::action(controller, &call.who, &name).await?;
            get::get(controller, &call, &name).await
        }
        Verb::Put => {
            writable(controller, &call, &name).await?;
            put::put(controller, call, name).await
        }
        Verb::Delete => {
            writable(controller, &call, &name).await?;
            delete::delete(controller, &name).await
        }
        Verb::Activate => {
            invocation::throttle(controller, &call.who, call.began)?;
            entitle::action(controller, &call.who, &name).await?;
            invoke::invoke(controller, call, name).await
        }
    }
}

/// Whether this caller may write an action, and there is a place for it: a
/// package that is no binding.
async fn writable(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<(), Rejection> {
    entitle::owner(&call.who, name)?;
    let Some(package) = name.package() else { return Ok(()) };
    match find::<Package>(controller, &package).await?.binding {
        None => Ok(()),
        Some(_) => Err(Rejection::Bad(messages::NOT_ON_BINDING.into())),
    }
}
