//! `PUT /triggers/NAME`: create or update.

use http::StatusCode;
use whisker_api::{TriggerPut, messages, trigger_view};
use whisker_entity::{Millis, QualifiedName, Trigger, Version};
use whisker_store::Document;

use crate::{
    body::Kind,
    controller::{Call, Controller},
    environment,
    found::find_if_any,
    rejection::Rejection,
    reply::Reply,
};

/// Creates a trigger, or updates it with `?overwrite=true`.
pub async fn put(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let overwrite = call.query.boolean("overwrite", false)?;
    let max_bytes = controller.config.limits.allowance(&call.who.limits).parameters_bytes;
    let body = call.read(controller, Kind::Entity).await?;
    let put = TriggerPut::parse(&body.bytes, max_bytes)?;
    let found = find_if_any::<Trigger>(controller, &name).await?;
    let now = controller.documents.stamp(environment::now());
    let trigger = match &found {
        Some(_) if !overwrite => return Err(Rejection::Conflict(messages::EXISTS)),
        Some(found) => update(Trigger::clone(found), put, now),
        None => {
            put.check_feed()?;
            create(name, put, now)
        }
    };
    let view = trigger_view(&trigger);
    controller.documents.put(&Document::Trigger(trigger), found.as_ref().map(|f| f.revision())).await?;
    Ok(Reply::json(StatusCode::OK, &view))
}

fn create(name: QualifiedName, put: TriggerPut, now: Millis) -> Trigger {
    Trigger {
        namespace: name.path,
        name: name.name,
        parameters: put.parameters.unwrap_or_default(),
        limits: serde_json::Map::new(),
        version: put.version.unwrap_or(Version::FIRST),
        publish: put.publish.unwrap_or(false),
        annotations: put.annotations.unwrap_or_default(),
        rules: None,
        updated: now,
    }
}

/// What the body names is replaced as a whole; the rest, and the rules, stay.
fn update(trigger: Trigger, put: TriggerPut, now: Millis) -> Trigger {
    Trigger {
        parameters: put.parameters.unwrap_or(trigger.parameters),
        version: put.version.unwrap_or_else(|| trigger.version.next()),
        publish: put.publish.unwrap_or(trigger.publish),
        annotations: put.annotations.unwrap_or(trigger.annotations),
        // Lists are ordered by this, so time does not run backwards in it.
        updated: now.max(trigger.updated + 1),
        ..trigger
    }
}
