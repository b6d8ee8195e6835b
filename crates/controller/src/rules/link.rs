//! What ties a rule to its trigger: an entry in the trigger's own document,
//! which alone decides what a fire does.
//!
//! Rule and trigger are two documents and nothing writes both at once. The
//! trigger's is always written first: whatever is interrupted between the two
//! is put right by doing it again. Several that write one rule at the same
//! time may each have written triggers before all but one lose; so each ends
//! by making its triggers agree with the rule as it is then ([`settle`]).

use whisker_api::messages;
use whisker_entity::{Link, Links, QualifiedName, Reference, Rule, RuleStatus, Trigger};
use whisker_store::{Document, Error};

use crate::{
    controller::Controller,
    found::{Found, find, find_if_any},
    rejection::Rejection,
};

/// Attempts to write a trigger that others write too. Each that fails means
/// that another writer got through.
const ATTEMPTS: usize = 64;

/// A rule's state: that of its link, and inactive without one.
pub async fn status(controller: &Controller, rule: &Rule) -> Result<RuleStatus, Rejection> {
    let name = QualifiedName::new(rule.namespace.clone(), rule.name.clone());
    match find_if_any::<Trigger>(controller, &rule.trigger.0).await {
        Ok(trigger) => {
            Ok(trigger.and_then(|trigger| trigger.link(&name).map(|l| l.status)).unwrap_or(RuleStatus::Inactive))
        }
        // The trigger's name is another entity's by now.
        Err(Rejection::Conflict(_)) => Ok(RuleStatus::Inactive),
        Err(rejection) => Err(rejection),
    }
}

/// Joins a rule to a trigger, or changes how it is joined.
pub async fn join(
    controller: &Controller,
    trigger: &QualifiedName,
    rule: &QualifiedName,
    link: &Link,
) -> Result<(), Rejection> {
    change(controller, trigger, |rules| rules.get_or_insert_default().set(rule, link.clone())).await
}

/// Takes a rule from a trigger. There is nothing to do if the trigger is gone.
pub async fn part(controller: &Controller, trigger: &QualifiedName, rule: &QualifiedName) -> Result<(), Rejection> {
    let parted = change(controller, trigger, |rules| {
        if let Some(rules) = rules {
            rules.remove(rule);
        }
    });
    unless_gone(parted.await)
}

/// Makes triggers that were written for a rule say what the rule's stored
/// document says, which others may have written meanwhile. `status` is for a
/// link that is to be there and is not.
///
/// Whoever wrote a link ends with this, whether its own write of the rule went
/// well or not. It looks at the rule again after it changed a trigger, since
/// it may have undone what another writer had just prepared.
pub async fn settle(controller: &Controller, name: &QualifiedName, written: &[&QualifiedName], status: RuleStatus) {
    for _ in 0..ATTEMPTS {
        let Ok(rule) = find_if_any::<Rule>(controller, name).await else { break };
        for trigger in written {
            if agree(controller, name, rule.as_deref(), trigger, status).await.is_err() {
                break;
            }
        }
        match find_if_any::<Rule>(controller, name).await {
            Ok(again) if again.as_ref().map(Found::revision) == rule.as_ref().map(Found::revision) => return,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    tracing::warn!(rule.name = %name, "a rule's link may differ from the rule until it is written again");
}

/// Makes one trigger say of a rule what the rule says.
async fn agree(
    controller: &Controller,
    name: &QualifiedName,
    rule: Option<&Rule>,
    trigger: &QualifiedName,
    status: RuleStatus,
) -> Result<(), Rejection> {
    let Some(rule) = rule.filter(|rule| rule.trigger.0 == *trigger) else {
        return part(controller, trigger, name).await;
    };
    let joined = change(controller, trigger, |rules| {
        let rules = rules.get_or_insert_default();
        let status = rules.get(name).map_or(status, |link| link.status);
        rules.set(name, Link { action: Reference(rule.action.0.clone()), status });
    });
    unless_gone(joined.await)
}

/// A trigger that is gone has no links that could be wrong.
fn unless_gone(changed: Result<(), Rejection>) -> Result<(), Rejection> {
    match changed {
        Err(Rejection::Missing | Rejection::Conflict(messages::OTHER_COLLECTION)) => Ok(()),
        other => other,
    }
}

/// Writes a trigger's links, again on top of what others wrote meanwhile. The
/// trigger's version and time stay: they are its owner's.
async fn change(
    controller: &Controller,
    name: &QualifiedName,
    change: impl Fn(&mut Option<Links>),
) -> Result<(), Rejection> {
    for _ in 0..ATTEMPTS {
        let found = find::<Trigger>(controller, name).await?;
        let mut trigger = Trigger::clone(&found);
        change(&mut trigger.rules);
        if trigger.rules == found.rules {
            return Ok(());
        }
        match controller.documents.put(&Document::Trigger(trigger), Some(found.revision())).await {
            Ok(_) => return Ok(()),
            Err(Error::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Stale.into())
}
