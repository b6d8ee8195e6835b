//! `DELETE /triggers/NAME`.

use http::StatusCode;
use whisker_api::trigger_view;
use whisker_entity::{QualifiedName, Trigger};

use crate::{controller::Controller, found::find, rejection::Rejection, reply::Reply};

/// Deletes a trigger and shows what it was. Its rules stay, inactive: another
/// trigger of its name is not joined to them.
pub async fn delete(controller: &Controller, name: &QualifiedName) -> Result<Reply, Rejection> {
    let found = find::<Trigger>(controller, name).await?;
    controller.documents.delete(name, found.revision()).await?;
    Ok(Reply::json(StatusCode::OK, &trigger_view(&found)))
}
