//! `GET /rules/NAME`.

use http::StatusCode;
use whisker_api::rule_view;
use whisker_entity::{QualifiedName, Rule};

use crate::{controller::Controller, found::find, rejection::Rejection, reply::Reply, rules::link};

/// Shows a rule and its state.
pub async fn get(controller: &Controller, name: &QualifiedName) -> Result<Reply, Rejection> {
    let rule = find::<Rule>(controller, name).await?;
    let status = link::status(controller, &rule).await?;
    Ok(Reply::json(StatusCode::OK, &rule_view(&rule, status)))
}
