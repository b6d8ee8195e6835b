//! `PUT /actions/NAME`: create or update.

use http::StatusCode;
use whisker_api::{ActionPut, ActionRules, action_view, messages};
use whisker_entity::{Action, ActionLimits, Exec, Millis, Parameters, QualifiedName, Version};
use whisker_retry::{Policy, dead_letter};
use whisker_store::Document;

use crate::{
    actions::get::with_inline_code,
    body::Kind,
    compose,
    controller::{Call, Controller},
    entitle, environment,
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
    let allowed = limits.allowance(&who.limits);
    let rules = ActionRules {
        manifest: &controller.config.manifest,
        limits: &allowed.actions,
        code_max_bytes: limits.code_max_bytes,
        parameters_max_bytes: allowed.parameters_bytes,
        namespace: &who.namespace,
    };
    let put = ActionPut::parse(&body.bytes, &rules)?;
    // An empty list is none, as with OpenWhisk.
    if let (Some(allowed), Some(exec)) = (&who.limits.allowed_kinds, &put.exec)
        && !allowed.is_empty()
        && !allowed.iter().any(|kind| kind == exec.kind())
    {
        return Err(Rejection::Forbidden(messages::kind_not_authorized(exec.kind())));
    }
    if let Some(exec) = &put.exec {
        check_exec(controller, exec).await?;
    }
    check_retries(&put, &name)?;
    let components = put.exec.as_ref().and_then(Exec::components).map(<[_]>::to_vec);
    if let Some(components) = &components {
        entitle::parts(controller, &who, None, components).await?;
    }
    let found = find_if_any::<Action>(controller, &name).await?;
    if found.is_some() && !overwrite {
        return Err(Rejection::Conflict(messages::EXISTS));
    }
    let instances = limits.concurrent_invocations(&who.limits);
    if put.limits.and_then(|limits| limits.instances()).is_some_and(|count| count > instances) {
        return Err(Rejection::Bad(messages::too_many_instances(instances.into())));
    }
    if let Some(components) = &components {
        compose::check::check(controller, &name, components).await?;
    }
    let now = controller.documents.stamp(environment::now());
    let mut action = match &found {
        Some(found) => update(Action::clone(found), put, now),
        None => create(name, put, limits.actions.nearest(ActionLimits::default()), now)?,
    };
    // A sequence's are the names of its components.
    if action.exec.components().is_none() {
        action.parameters = controller.locked(action.parameters)?;
    }
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

/// Refuses wishes for retries that cannot be understood, or are in vain: a
/// sequence and a conductor are run part by part, each of them waited for.
/// Only what this body says is looked at.
fn check_retries(put: &ActionPut, name: &QualifiedName) -> Result<(), Rejection> {
    let Some(annotations) = &put.annotations else { return Ok(()) };
    let bad = |error: whisker_retry::Invalid| Rejection::Bad(error.to_string());
    let policy = Policy::of(annotations).map_err(bad)?;
    let letter = dead_letter(annotations, &name.path.namespace).map_err(bad)?;
    let composed =
        put.exec.as_ref().is_some_and(|exec| exec.components().is_some()) || annotations.is_truthy("conductor", false);
    if composed && (policy.is_some() || letter.is_some()) {
        return Err(Rejection::Bad(messages::RETRIES_OF_COMPOSITION.into()));
    }
    Ok(())
}

fn create(name: QualifiedName, put: ActionPut, usual: ActionLimits, now: Millis) -> Result<Action, Rejection> {
    let exec = put.exec.ok_or_else(|| Rejection::Bad(messages::EXEC_UNDEFINED.into()))?;
    let mut annotations = put.annotations.unwrap_or_default();
    // A new action's containers get no key unless its owner says so.
    if annotations.get(PROVIDE_API_KEY).is_none() {
        annotations.set_value(PROVIDE_API_KEY, false);
    }
    annotations.set_value("exec", exec.kind());
    let parameters = match exec.components() {
        Some(components) => of_sequence(components),
        None => put.parameters.unwrap_or_default(),
    };
    Ok(Action {
        namespace: name.path,
        name: name.name,
        exec,
        parameters,
        limits: put.limits.unwrap_or_default().over(usual),
        version: put.version.unwrap_or(Version::FIRST),
        publish: put.publish.unwrap_or(false),
        annotations,
        updated: now,
    })
}

/// The parameters of a sequence: it has no others, since its components get
/// their own. OpenWhisk's clients read it from here.
fn of_sequence(components: &[QualifiedName]) -> Parameters {
    let mut parameters = Parameters::default();
    let paths: Vec<_> = components.iter().map(|component| format!("/{component}")).collect();
    parameters.set_value("_actions", paths);
    parameters
}

/// Annotations are merged, parameters replaced, limits changed one by one, and
/// what the body does not mention stays. What is or was a sequence keeps none
/// of the other kind's parameters.
fn update(action: Action, put: ActionPut, now: Millis) -> Action {
    let was_sequence = action.exec.components().is_some();
    let parameters = match &put.exec {
        Some(Exec::Sequence { components }) => of_sequence(components),
        Some(_) if was_sequence => put.parameters.unwrap_or_default(),
        None if was_sequence => action.parameters,
        Some(_) | None => put.parameters.unwrap_or(action.parameters),
    };
    let exec = put.exec.unwrap_or(action.exec);
    let mut annotations = action.annotations;
    put.del_annotations.iter().for_each(|key| annotations.remove(key));
    let mut annotations = annotations.merged(&put.annotations.unwrap_or_default());
    annotations.set_value("exec", exec.kind());
    Action {
        exec,
        parameters,
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
