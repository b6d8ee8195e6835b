//! `GET /actions/NAME`.

use http::StatusCode;
use whisker_api::{action_view, messages};
use whisker_entity::{Action, ExecCode, QualifiedName};

use crate::{
    controller::{Call, Controller},
    rejection::Rejection,
    reply::Reply,
    resolve::{Provider, resolve},
};

/// Shows an action as it would run: with what its package and binding add to
/// its parameters. `?code=false` leaves its code out, and tells the binding.
pub async fn get(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<Reply, Rejection> {
    let with_code = call.query.boolean("code", true)?;
    if controller.config.limits.shared_packages_execute_only {
        check_not_shared(controller, call, name).await?;
    }
    let resolved = resolve(controller, name).await?;
    let action = Action { parameters: resolved.parameters().clone(), ..Action::clone(&resolved.action) };
    if with_code {
        let action = with_inline_code(controller, action).await?;
        return Ok(Reply::json(StatusCode::OK, &action_view(&action, true)));
    }
    let mut view = action_view(&action, false);
    if let Some(binding) = &resolved.binding {
        view["binding"] = binding.to_string().into();
    }
    Ok(Reply::json(StatusCode::OK, &view))
}

/// Refuses what is in a package of others, without telling whether it is there.
async fn check_not_shared(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<(), Rejection> {
    if name.path.namespace != call.who.namespace {
        return Err(Rejection::Forbidden(messages::action_execute_only(&name.path)));
    }
    let Some(package) = name.package() else { return Ok(()) };
    if Provider::of(controller, &package).await?.package.path().namespace != name.path.namespace {
        return Err(Rejection::Forbidden(messages::bound_action_execute_only(name)));
    }
    Ok(())
}

/// The action with its code at hand, as clients see it.
pub async fn with_inline_code(controller: &Controller, mut action: Action) -> Result<Action, Rejection> {
    if let Some(code) = action.exec.code_mut()
        && let ExecCode::Attached { hash, .. } = *code
    {
        *code = ExecCode::Inline(controller.documents.entities().code(hash).await?);
    }
    Ok(action)
}
