//! Lists of entities, and their numbers.

use http::StatusCode;
use serde_json::Value;
use whisker_api::{action_listed, package_listed, rule_listed, trigger_listed};
use whisker_entity::EntityPath;
use whisker_store::{Collection, Document};

use crate::{
    controller::{Call, Controller},
    query::counted,
    rejection::Rejection,
    reply::Reply,
    route::Space,
};

/// Serves the list of a collection of a namespace. Lists are their owner's
/// alone, save that of packages: others see those that are for them.
pub async fn serve(
    controller: &Controller,
    call: &Call<'_>,
    space: &Space,
    collection: Collection,
) -> Result<Reply, Rejection> {
    let path = space.resolve(&call.who.namespace);
    if collection == Collection::Packages && path.namespace != call.who.namespace {
        return list(controller, call, Collection::PublicPackages, &path).await;
    }
    list(controller, call, collection, &call.own(space)?).await
}

/// Lists, or counts, what is at a path.
pub async fn list(
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
    let listed: Vec<Value> = entities.list(collection, path, page).await?.iter().map(view).collect();
    Ok(Reply::json(StatusCode::OK, &listed))
}

fn view(document: &Document) -> Value {
    match document {
        Document::Action(action) => action_listed(action),
        Document::Package(package) => package_listed(package),
        Document::Trigger(trigger) => trigger_listed(trigger),
        Document::Rule(rule) => rule_listed(rule),
    }
}
