//! `GET /triggers/NAME`.

use http::StatusCode;
use whisker_api::trigger_view;
use whisker_entity::{QualifiedName, Trigger};

use crate::{controller::Controller, found::find, rejection::Rejection, reply::Reply};

/// Shows a trigger and the rules joined to it.
pub async fn get(controller: &Controller, name: &QualifiedName) -> Result<Reply, Rejection> {
    Ok(Reply::json(StatusCode::OK, &trigger_view(&*find::<Trigger>(controller, name).await?)))
}
