//! What ties a rule to its trigger: an entry in the trigger's own document,
//! which alone decides what a fire does.
//!
//! Rule and trigger are two documents and nothing writes both at once. The
//! trigger's is always written first: whatever is interrupted between the two
//! is put right by doing it again. Two that write one rule at the same time
//! may each have written the trigger before one of them loses; the loser puts
//! back what the rule says ([`mend`]).

use whisker_entity::{Link, Links, QualifiedName, Reference, Rule, RuleStatus, Trigger};
use whisker_store::{Document, Error};

use crate::{
    controller::Controller,
    found::{find, find_if_any},
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
    match parted.await {
        Err(Rejection::Missing | Rejection::Conflict(whisker_api::messages::OTHER_COLLECTION)) => Ok(()),
        other => other,
    }
}

/// Puts back what a rule's stored document says, after a write of that
/// document failed for which triggers had been written already. `status` is
/// what the rule had. As good as can be: it fails where the store does.
pub async fn mend(controller: &Controller, name: &QualifiedName, written: &[&QualifiedName], status: RuleStatus) {
    let Ok(rule) = find_if_any::<Rule>(controller, name).await else { return };
    for trigger in written {
        let mended = match &rule {
            Some(rule) if rule.trigger.0 == **trigger => {
                let action = Reference(rule.action.0.clone());
                change(controller, trigger, |rules| {
                    let rules = rules.get_or_insert_default();
                    let status = rules.get(name).map_or(status, |link| link.status);
                    rules.set(name, Link { action: action.clone(), status });
                })
                .await
            }
            Some(_) | None => part(controller, trigger, name).await,
        };
        if mended.is_err() {
            tracing::warn!(rule.name = %name, trigger.name = %trigger, "a rule's link may differ from the rule");
        }
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
