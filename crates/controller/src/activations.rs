//! Activation records, to their owners.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;
use whisker_api::{ActivationListed, ActivationView, ResponseView, messages};
use whisker_entity::{Activation, ActivationId, EntityName, EntityPath, Millis, QualifiedName};
use whisker_store::{ActivationQuery, Error, Summary};

use crate::{
    controller::{Call, Controller},
    query::counted,
    rejection::Rejection,
    reply::Reply,
    route::{Part, Space},
};

const COLLECTION: &str = "activations";

/// `GET /activations`: summaries, whole records with `docs`, or their number.
pub async fn list(controller: &Controller, call: &Call<'_>, space: &Space) -> Result<Reply, Rejection> {
    let namespace = call.own(space)?.namespace;
    let page = call.query.page(COLLECTION, &controller.config.limits)?;
    let docs = call.query.boolean("docs", false)?;
    let count = call.query.boolean("count", false)?;
    let query = ActivationQuery {
        name: name_filter(call, &namespace)?,
        since: call.query.time("since")?,
        upto: call.query.time("upto")?,
        namespace,
    };
    let activations = &controller.activations;
    if count && docs {
        return Err(Rejection::Bad(messages::DOCS_NOT_PERMITTED.into()));
    }
    if count {
        return Ok(Reply::json(StatusCode::OK, &counted(COLLECTION, activations.count(&query).await?, page)));
    }
    if docs {
        let records = activations.list_full(&query, page, controller.config.limits.listed_max_bytes).await?;
        let views: Vec<_> = records.iter().map(ActivationView::from).collect();
        return Ok(Reply::json(StatusCode::OK, &views));
    }
    let views: Vec<_> = activations.list(&query, page).await?.into_iter().map(listed).collect();
    Ok(Reply::json(StatusCode::OK, &views))
}

/// `name=action` or `name=package/action`; empty is no filter.
fn name_filter(call: &Call<'_>, namespace: &EntityName) -> Result<Option<QualifiedName>, Rejection> {
    let Some(text) = call.query.get("name").filter(|text| !text.is_empty()) else { return Ok(None) };
    let refuse = || Rejection::Query {
        name: "name",
        detail: format!("Parameter may be a 'simple' name or 'package-name/simple' name: {text}"),
    };
    let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
    let (package, name) = match segments[..] {
        [name] => (None, name),
        [package, name] => (Some(package), name),
        _ => return Err(refuse()),
    };
    let package = package.map(EntityName::new).transpose().map_err(|_| refuse())?;
    let name = EntityName::new(name).map_err(|_| refuse())?;
    Ok(Some(QualifiedName::new(EntityPath { namespace: namespace.clone(), package }, name)))
}

fn listed(summary: Summary) -> ActivationListed {
    // A trigger's record has no end, and so no duration.
    let ended = summary.end != 0;
    ActivationListed {
        namespace: summary.namespace,
        name: summary.name,
        version: summary.version,
        publish: false,
        annotations: summary.annotations,
        activation_id: summary.id,
        start: summary.start,
        end: ended.then_some(summary.end),
        duration: ended.then(|| summary.end.saturating_sub(summary.start)),
        status_code: summary.status,
        cause: summary.cause,
    }
}

/// How long a record may be on its way to the store, after the answer that
/// told its id: it is written in batches, off the path of the answer.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// Pause between two looks at the store.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Age in ms from which an id that is not stored is taken to be no record's.
const RECENT_MS: Millis = 10_000;

/// Reads a record. Who was told an id a moment ago is not told that there is no
/// such record, when it only takes some more milliseconds to be written.
async fn find(
    controller: &Controller,
    namespace: &EntityName,
    id: ActivationId,
    now: Millis,
) -> Result<Activation, Error> {
    let patience = if now.abs_diff(id.time()) < RECENT_MS { ON_ITS_WAY } else { Duration::ZERO };
    let until = Instant::now() + patience;
    loop {
        match controller.activations.get(namespace, id).await {
            Err(Error::Missing) if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            found => return found,
        }
    }
}

/// `GET /activations/ID` and its parts.
pub async fn get(
    controller: &Controller,
    call: &Call<'_>,
    space: &Space,
    id: ActivationId,
    part: Part,
) -> Result<Reply, Rejection> {
    let path = space.resolve(&call.who.namespace);
    if path.namespace != call.who.namespace {
        return Err(Rejection::Forbidden(messages::not_authorized(format_args!("{path}/{id}"))));
    }
    let record = find(controller, &path.namespace, id, call.began).await?;
    Ok(match part {
        Part::Record => Reply::json(StatusCode::OK, &ActivationView::from(&record)),
        Part::Logs => Reply::json(StatusCode::OK, &json!({"logs": record.logs})),
        Part::Result => Reply::json(StatusCode::OK, &ResponseView::from(&record.response)),
    })
}
