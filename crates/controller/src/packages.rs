//! Packages and bindings: one file for each thing that can be done with them.

mod delete;
mod get;
mod put;

use whisker_entity::{EntityName, QualifiedName};

use crate::{
    controller::{Call, Controller},
    entitle,
    rejection::Rejection,
    reply::Reply,
    route::{Space, Verb},
};

/// Serves a request for one package.
pub(crate) async fn serve(
    controller: &Controller,
    call: Call<'_>,
    verb: Verb,
    space: &Space,
    name: EntityName,
) -> Result<Reply, Rejection> {
    let name = QualifiedName::new(space.resolve(&call.who.namespace), name);
    match verb {
        Verb::Read => get::get(controller, &call, &name).await,
        Verb::Put => {
            entitle::owner(&call.who, &name)?;
            put::put(controller, call, name).await
        }
        Verb::Delete => {
            entitle::owner(&call.who, &name)?;
            delete::delete(controller, &call, &name).await
        }
        Verb::Activate => Err(Rejection::NoSuchPath),
    }
}
