//! Triggers: one file for each thing that can be done with them.

mod delete;
mod fire;
mod get;
pub(crate) mod letter;
mod put;

use whisker_entity::{EntityName, QualifiedName};

use crate::{
    controller::{Call, Controller},
    entitle,
    rejection::Rejection,
    reply::Reply,
    route::{Space, Verb},
};

/// Serves a request for one trigger.
pub(crate) async fn serve(
    controller: &Controller,
    call: Call<'_>,
    verb: Verb,
    space: &Space,
    name: EntityName,
) -> Result<Reply, Rejection> {
    let name = QualifiedName::new(space.resolve(&call.who.namespace), name);
    if verb == Verb::Activate {
        fire::throttle(controller, &call.who, call.began)?;
    }
    entitle::owner(&call.who, &name)?;
    match verb {
        Verb::Read => get::get(controller, &name).await,
        Verb::Put => put::put(controller, call, name).await,
        Verb::Delete => delete::delete(controller, &name).await,
        Verb::Activate => fire::fire(controller, call, &name).await,
    }
}
