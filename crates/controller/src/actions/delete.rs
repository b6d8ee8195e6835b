//! `DELETE /actions/NAME`.

use http::StatusCode;
use whisker_api::action_view;
use whisker_entity::{Action, QualifiedName};

use crate::{actions::get::with_inline_code, controller::Controller, found::find, rejection::Rejection, reply::Reply};

/// Deletes an action and shows what it was. Rules and sequences that name it
/// are left alone.
pub async fn delete(controller: &Controller, name: &QualifiedName) -> Result<Reply, Rejection> {
    let found = find::<Action>(controller, name).await?;
    // Read before the action goes, since its code goes with it.
    let action = with_inline_code(controller, Action::clone(&found)).await?;
    controller.documents.delete(name, found.revision()).await?;
    Ok(Reply::json(StatusCode::OK, &action_view(&action, true)))
}
