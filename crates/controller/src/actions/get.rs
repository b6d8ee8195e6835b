//! `GET /actions/NAME`.

use http::StatusCode;
use whisker_api::action_view;
use whisker_entity::{Action, ExecCode, QualifiedName};

use crate::{
    actions::find,
    controller::{Call, Controller},
    rejection::Rejection,
    reply::Reply,
};

/// Shows an action; `?code=false` leaves its code out.
pub async fn get(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<Reply, Rejection> {
    let with_code = call.query.boolean("code", true)?;
    let found = find(controller, name).await?;
    if !with_code {
        return Ok(Reply::json(StatusCode::OK, &action_view(found.action()?, false)));
    }
    let action = with_inline_code(controller, found.action()?.clone()).await?;
    Ok(Reply::json(StatusCode::OK, &action_view(&action, true)))
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
