//! Rules: one file for each thing that can be done with them.

mod delete;
mod get;
mod link;
mod put;
mod switch;

use whisker_entity::{EntityName, QualifiedName};

use crate::{
    controller::{Call, Controller},
    entitle,
    rejection::Rejection,
    reply::Reply,
    route::{Space, Verb},
};

/// Serves a request for one rule.
pub(crate) async fn serve(
    controller: &Controller,
    call: Call<'_>,
    verb: Verb,
    space: &Space,
    name: EntityName,
) -> Result<Reply, Rejection> {
    let name = QualifiedName::new(space.resolve(&call.who.namespace), name);
    entitle::owner(&call.who, &name)?;
    match verb {
        Verb::Read => get::get(controller, &name).await,
        Verb::Put => put::put(controller, call, name).await,
        Verb::Delete => delete::delete(controller, name).await,
        Verb::Activate => switch::switch(controller, call, name).await,
    }
}
