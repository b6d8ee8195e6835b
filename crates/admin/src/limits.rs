//! Limits of namespaces. They belong to the name: a namespace need not be
//! anybody's to have some, and they stay when its user goes.

use serde_json::Value;
use whisker_entity::{EntityName, NamespaceLimits};
use whisker_store::{Error, Subjects};

use crate::{Answer, LimitsCommand, SetLimits, perform::chain};

pub(crate) async fn perform(subjects: &dyn Subjects, command: LimitsCommand) -> Answer {
    let (LimitsCommand::Set { namespace: text, .. }
    | LimitsCommand::Get { namespace: text }
    | LimitsCommand::Delete { namespace: text }) = &command;
    let namespace: EntityName = match text.parse() {
        Ok(namespace) => namespace,
        Err(error) => return Answer::senseless(format!("\"{text}\" cannot be a namespace: {error}")),
    };
    let (verb, done) = match command {
        LimitsCommand::Set { limits, .. } => ("set", set(subjects, &namespace, *limits).await),
        LimitsCommand::Get { .. } => ("get", get(subjects, &namespace).await),
        LimitsCommand::Delete { .. } => ("delete", delete(subjects, &namespace).await),
    };
    done.unwrap_or_else(|error| Answer::failed(format!("Failed to {verb} limits ({})", chain(&error))))
}

async fn set(subjects: &dyn Subjects, namespace: &EntityName, limits: SetLimits) -> Result<Answer, Error> {
    let limits = limits.over(subjects.limits(namespace).await?);
    if let Some(complaint) = upside_down(&limits) {
        return Ok(Answer::senseless(complaint));
    }
    subjects.put_limits(namespace, Some(&limits)).await?;
    tracing::info!(namespace.name = %namespace, "limits of a namespace were set");
    Ok(Answer::line(format!("Limits successfully set for \"{namespace}\"")))
}

/// Says which range has its ends the wrong way round: no action would fit.
fn upside_down(limits: &NamespaceLimits) -> Option<String> {
    let wide = |limit: Option<u32>| limit.map(u64::from);
    let ranges = [
        ("ActionMemory", wide(limits.min_action_memory), wide(limits.max_action_memory)),
        ("ActionLogs", wide(limits.min_action_logs), wide(limits.max_action_logs)),
        ("ActionTimeout", limits.min_action_timeout, limits.max_action_timeout),
        ("ActionConcurrency", wide(limits.min_action_concurrency), wide(limits.max_action_concurrency)),
    ];
    let (name, ..) = ranges.into_iter().find(|(_, min, max)| min.zip(*max).is_some_and(|(min, max)| min > max))?;
    Some(format!("min{name} is more than max{name}"))
}

async fn get(subjects: &dyn Subjects, namespace: &EntityName) -> Result<Answer, Error> {
    let limits = subjects.limits(namespace).await?;
    if limits == NamespaceLimits::default() {
        return Ok(Answer::line("No limits found, default system limits apply"));
    }
    let Ok(Value::Object(document)) = serde_json::to_value(&limits) else { return Ok(Answer::default()) };
    let shown = |name: &&str| Some(format!("{name} = {}", as_python(document.get(*name)?)));
    Ok(Answer::lines(ORDER.iter().filter_map(shown).collect()))
}

async fn delete(subjects: &dyn Subjects, namespace: &EntityName) -> Result<Answer, Error> {
    if subjects.limits(namespace).await? == NamespaceLimits::default() {
        return Ok(Answer::failed("Failed to delete limits (there are none)"));
    }
    subjects.put_limits(namespace, None).await?;
    tracing::info!(namespace.name = %namespace, "limits of a namespace were deleted");
    Ok(Answer::line("Limits deleted"))
}

/// The order in which wskadmin shows them.
const ORDER: [&str; 19] = [
    "invocationsPerMinute",
    "firesPerMinute",
    "concurrentInvocations",
    "allowedKinds",
    "storeActivations",
    "minActionMemory",
    "maxActionMemory",
    "minActionLogs",
    "maxActionLogs",
    "minActionTimeout",
    "maxActionTimeout",
    "minActionConcurrency",
    "maxActionConcurrency",
    "maxParameterSize",
    "maxPayloadSize",
    "truncationSize",
    "warmedContainerKeepingCount",
    "warmedContainerKeepingTimeout",
    "maxActionInstances",
];

/// A value as wskadmin prints it, which is written in Python.
fn as_python(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| format!("'{}'", as_python(item))).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Null | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
