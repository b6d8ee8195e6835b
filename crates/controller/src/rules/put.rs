//! `PUT /rules/NAME`: create or update.

use http::StatusCode;
use whisker_api::{RulePut, messages, rule_view};
use whisker_entity::{Link, Millis, QualifiedName, Reference, Rule, RuleStatus, Trigger, Version};
use whisker_store::{Document, Revision};

use crate::{
    body::Kind,
    controller::{Call, Controller},
    entitle, environment,
    found::{find, find_if_any},
    rejection::Rejection,
    reply::Reply,
    resolve::resolve,
    rules::link,
};

/// Creates a rule, which is active then, or updates it with `?overwrite=true`.
pub async fn put(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let overwrite = call.query.boolean("overwrite", false)?;
    let who = call.who.clone();
    let body = call.read(controller, Kind::Entity).await?;
    let max_bytes = controller.config.limits.allowance(&who.limits).parameters_bytes;
    let put = RulePut::parse(&body.bytes, &name.path.namespace, max_bytes)?;
    entitle::parts(controller, &who, put.trigger.as_ref(), &put.action).await?;
    let found = find_if_any::<Rule>(controller, &name).await?;
    let now = controller.documents.stamp(environment::now());
    let write = match found {
        Some(_) if !overwrite => return Err(Rejection::Conflict(messages::EXISTS)),
        Some(old) => {
            let status = link::status(controller, &old).await?;
            let rule = update(Rule::clone(&old), put, now);
            let left = Some(old.trigger.0.clone()).filter(|trigger| *trigger != rule.trigger.0);
            Write { name, rule, status, left, based_on: Some(old.revision().clone()) }
        }
        None => {
            let rule = create(&name, put, now)?;
            Write { name, rule, status: RuleStatus::Active, left: None, based_on: None }
        }
    };
    check_parts(controller, &write.rule.trigger.0, &write.rule.action.0).await?;
    let shared = controller.shared()?;
    controller.records.see_through(async move { write.carry_out(&shared).await }).await
}

/// A rule as it is to be stored.
struct Write {
    name: QualifiedName,
    rule: Rule,
    status: RuleStatus,
    /// The trigger that it leaves.
    left: Option<QualifiedName>,
    based_on: Option<Revision>,
}

impl Write {
    /// Writes the trigger that the rule joins, the one that it leaves, and last
    /// its own document.
    async fn carry_out(self, controller: &Controller) -> Result<Reply, Rejection> {
        let Write { name, rule, status, left, based_on } = self;
        let (trigger, action) = (rule.trigger.0.clone(), rule.action.0.clone());
        link::join(controller, &trigger, &name, &Link { action: Reference(action), status }).await?;
        if let Some(left) = &left {
            link::part(controller, left, &name).await?;
        }
        let view = rule_view(&rule, status);
        let put = controller.documents.put(&Document::Rule(rule), based_on.as_ref()).await;
        let written: Vec<_> = [Some(&trigger), left.as_ref()].into_iter().flatten().collect();
        link::settle(controller, &name, &written, status).await;
        put?;
        Ok(Reply::json(StatusCode::OK, &view))
    }
}

/// Both parts of a rule must exist when it is written; either may go later.
async fn check_parts(
    controller: &Controller,
    trigger: &QualifiedName,
    action: &QualifiedName,
) -> Result<(), Rejection> {
    let told = |part, name| {
        move |rejection| match rejection {
            Rejection::Missing => Rejection::Bad(messages::part_missing(part, name)),
            Rejection::Internal(messages::CORRUPT) => Rejection::Bad(messages::part_corrupt(part, name)),
            Rejection::Conflict(text) => Rejection::Bad(text.into()),
            other => other,
        }
    };
    find::<Trigger>(controller, trigger).await.map(drop).map_err(told("trigger", trigger))?;
    resolve(controller, action).await.map(drop).map_err(told("action", action))
}

fn create(name: &QualifiedName, put: RulePut, now: Millis) -> Result<Rule, Rejection> {
    let (Some(trigger), Some(action)) = (put.trigger, put.action) else {
        return Err(Rejection::Bad(messages::RULE_NEEDS_PARTS.into()));
    };
    Ok(Rule {
        namespace: name.path.clone(),
        name: name.name.clone(),
        trigger: Reference(trigger),
        action: Reference(action),
        version: put.version.unwrap_or(Version::FIRST),
        publish: put.publish.unwrap_or(false),
        annotations: put.annotations.unwrap_or_default(),
        updated: now,
    })
}

/// What the body names is replaced as a whole; the rest stays.
fn update(rule: Rule, put: RulePut, now: Millis) -> Rule {
    Rule {
        trigger: put.trigger.map_or(rule.trigger, Reference),
        action: put.action.map_or(rule.action, Reference),
        version: put.version.unwrap_or_else(|| rule.version.next()),
        publish: put.publish.unwrap_or(rule.publish),
        annotations: put.annotations.unwrap_or(rule.annotations),
        // Lists are ordered by this, so time does not run backwards in it.
        updated: now.max(rule.updated + 1),
        namespace: rule.namespace,
        name: rule.name,
    }
}
