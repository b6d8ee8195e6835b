//! `GET /actions` and `GET /actions/PACKAGE/`.

use http::StatusCode;
use serde_json::Value;
use whisker_api::{action_listed, messages};
use whisker_entity::{EntityName, EntityPath, QualifiedName};
use whisker_store::{Collection, Document};

use crate::{
    controller::{Call, Controller},
    query::counted,
    rejection::Rejection,
    reply::Reply,
    route::Space,
};

/// Lists, or counts, what is at a path.
pub(crate) async fn list(
    controller: &Controller,
    call: &Call<'_>,
    collection: Collection,
    path: &EntityPath,
) -> Result<Reply, Rejection> {
    let page = call.query.page(collection.name(), &controller.config.limits)?;
    let entities = controller.documents.entities();
    if call.query.boolean("count", false)? {
        let total = entities.count(collection, path).await?;
        return Ok(Reply::json(StatusCode::OK, &counted(collection.name(), total, page)));
    }
    let listed: Vec<Value> = entities.list(collection, path, page).await?.iter().filter_map(view).collect();
    Ok(Reply::json(StatusCode::OK, &listed))
}

fn view(document: &Document) -> Option<Value> {
    match document {
        Document::Action(action) => Some(action_listed(action)),
        Document::Package(_) | Document::Trigger(_) | Document::Rule(_) => None,
    }
}

/// Lists the actions of a package, which must be there.
pub(crate) async fn list_package(
    controller: &Controller,
    call: &Call<'_>,
    space: &Space,
    package: EntityName,
) -> Result<Reply, Rejection> {
    let name = call.own_entity(space, None, package)?;
    match controller.documents.get(&name).await?.document {
        Document::Package(_) => {}
        Document::Action(_) | Document::Trigger(_) | Document::Rule(_) => {
            return Err(Rejection::Conflict(messages::OTHER_COLLECTION));
        }
    }
    let QualifiedName { path, name } = name;
    list(controller, call, Collection::Actions, &EntityPath { package: Some(name), ..path }).await
}
