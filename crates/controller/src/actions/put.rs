//! `PUT /actions/NAME`: create or update.

use http::StatusCode;
use whisker_api::{ActionPut, ActionRules, action_view, messages};
use whisker_entity::{Action, ActionLimits, Exec, Millis, QualifiedName, Version};
use whisker_store::Document;

use crate::{
    actions::get::with_inline_code,
    body::Kind,
    controller::{Call, Controller},
    environment,
    found::find_if_any,
    rejection::Rejection,
    reply::Reply,
};

/// Says whether an action's containers get their owner's key.
const PROVIDE_API_KEY: &str = "provide-api-key";

/// Creates an action, or updates it with `?overwrite=true`.
pub async fn put(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let overwrite = call.query.boolean("overwrite", false)?;
    let who = call.who.clone();
    let body = call.read(controller, Kind::Entity).await?;
    let limits = &controller.config.limits;
    let rules = ActionRules {
        manifest: &controller.config.manifest,
        limits: &limits.actions,
        code_max_bytes: limits.code_max_bytes,
        parameters_max_bytes: limits.parameters_max_bytes,
        namespace: &who.namespace,
    };
    let put = ActionPut::parse(&body.bytes, &rules)?;
    if let (Some(allowed), Some(exec)) = (&who.limits.allowed_kinds, &put.exec)
        && !allowed.iter().any(|kind| kind == exec.kind())
    {
        return Err(Rejection::Forbidden(messages::kind_not_authorized(exec.kind())));
    }
    if let Some(exec) = &put.exec {
        check_exec(controller, exec).await?;
    }
    let found = find_if_any::<Action>(controller, &name).await?;
    let now = environment::now();
    let action = match &found {
        Some(_) if !overwrite => return Err(Rejection::Conflict(messages::EXISTS)),
        Some(found) => update(Action::clone(found), put, now),
        None => create(name, put, now)?,
    };
    if let Ok(runtime) = controller.config.manifest.resolve(action.exec.kind())
        && runtime.deprecated
    {
        return Err(Rejection::Bad(messages::deprecated_kind(action.exec.kind())));
    }
    let document = Document::Action(action);
    controller.documents.put(&document, found.as_ref().map(|f| f.revision())).await?;
    let Document::Action(action) = document else { return Err(Rejection::Internal(messages::INTERNAL)) };
    let action = with_inline_code(controller, action).await?;
    Ok(Reply::json(StatusCode::OK, &action_view(&action, true)))
}

/// Refuses archives that would not be unpacked. Looking through one takes
/// time, which other requests need not wait for.
async fn check_exec(controller: &Controller, exec: &Exec) -> Result<(), Rejection> {
    if !exec.binary() {
        return Ok(());
    }
    let (platform, exec) = (controller.platform.clone(), exec.clone());
    let checked = tokio::task::spawn_blocking(move || platform.check_code(&exec)).await;
    checked.map_err(|_| Rejection::Internal(messages::INTERNAL))?.map_err(Rejection::Bad)
}

fn create(name: QualifiedName, put: ActionPut, now: Millis) -> Result<Action, Rejection> {
    let exec = put.exec.ok_or_else(|| Rejection::Bad(messages::EXEC_UNDEFINED.into()))?;
    let mut annotations = put.annotations.unwrap_or_default();
    // A new action's containers get no key unless its owner says so.
    if annotations.get(PROVIDE_API_KEY).is_none() {
        annotations.set_value(PROVIDE_API_KEY, false);
    }
    annotations.set_value("exec", exec.kind());
    Ok(Action {
        namespace: name.path,
        name: name.name,
        exec,
        parameters: put.parameters.unwrap_or_default(),
        limits: put.limits.unwrap_or_default().over(ActionLimits::default()),
        version: put.version.unwrap_or(Version::FIRST),
        publish: put.publish.unwrap_or(false),
        annotations,
        updated: now,
    })
}

/// Annotations are merged, parameters replaced, limits changed one by one, and
/// what the body does not mention stays.
fn update(action: Action, put: ActionPut, now: Millis) -> Action {
    let exec = put.exec.unwrap_or(action.exec);
    let mut annotations = action.annotations;
    put.del_annotations.iter().for_each(|key| annotations.remove(key));
    let mut annotations = annotations.merged(&put.annotations.unwrap_or_default());
    annotations.set_value("exec", exec.kind());
    Action {
        exec,
        parameters: put.parameters.unwrap_or(action.parameters),
        limits: put.limits.unwrap_or_default().over(action.limits),
        version: put.version.unwrap_or_else(|| action.version.next()),
        publish: put.publish.unwrap_or(action.publish),
        annotations,
        // Lists are ordered by this, so time does not run backwards in it.
        updated: now.max(action.updated + 1),
        namespace: action.namespace,
        name: action.name,
    }
}
