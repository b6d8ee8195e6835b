//! `DELETE /rules/NAME`.

use http::StatusCode;
use whisker_api::rule_view;
use whisker_entity::{QualifiedName, Rule, RuleStatus};

use crate::{controller::Controller, found::find, rejection::Rejection, reply::Reply, rules::link};

/// Takes a rule from its trigger, deletes it, and shows what it was: inactive
/// by then.
pub async fn delete(controller: &Controller, name: QualifiedName) -> Result<Reply, Rejection> {
    let rule = find::<Rule>(controller, &name).await?;
    let status = link::status(controller, &rule).await?;
    let shared = controller.shared()?;
    let rule = controller.records.see_through(async move {
        link::part(&shared, &rule.trigger.0, &name).await?;
        let deleted = shared.documents.delete(&name, rule.revision()).await;
        link::settle(&shared, &name, &[&rule.trigger.0], status).await;
        deleted?;
        Ok(rule)
    });
    Ok(Reply::json(StatusCode::OK, &rule_view(&*rule.await?, RuleStatus::Inactive)))
}
