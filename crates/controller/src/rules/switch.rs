//! `POST /rules/NAME`: switch on or off.

use http::StatusCode;
use whisker_api::parse_rule_status;
use whisker_entity::{Link, QualifiedName, Reference, Rule};

use crate::{
    body::Kind,
    controller::{Call, Controller},
    found::find,
    rejection::Rejection,
    reply::Reply,
    rules::link,
};

/// Makes a rule active or inactive; that it was already is fine. Whether its
/// action exists shows when it is fired.
pub async fn switch(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let status = parse_rule_status(&call.read(controller, Kind::Payload).await?.bytes)?;
    let rule = find::<Rule>(controller, &name).await?;
    if status != link::status(controller, &rule).await? {
        let shared = controller.shared()?;
        let switched = controller.records.see_through(async move {
            let (trigger, link) = (&rule.trigger.0, Link { action: Reference(rule.action.0.clone()), status });
            link::join(&shared, trigger, &name, &link).await?;
            link::settle(&shared, &name, &[trigger], status).await;
            Ok(())
        });
        switched.await.map_err(|rejection| match rejection {
            Rejection::Missing => Rejection::RuleWithoutTrigger,
            other => other,
        })?;
    }
    Ok(Reply::words(StatusCode::OK))
}
