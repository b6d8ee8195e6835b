//! Entities as the REST API shows them.

use serde_json::{Map, Value, json};
use whisker_entity::{Action, Exec, Package, Rule, RuleStatus, Trigger};

/// An action. `with_code` shows the code, which must be inline then.
pub fn action_view(action: &Action, with_code: bool) -> Value {
    let mut exec = match json!(action.exec) {
        Value::Object(exec) => exec,
        _ => Map::new(),
    };
    if !with_code {
        exec.remove("code");
    }
    // A sequence has neither code nor entry point, and shows no `binary`.
    json!({
        "namespace": action.namespace,
        "name": action.name,
        "version": action.version,
        "publish": action.publish,
        "exec": exec,
        "parameters": action.parameters,
        "annotations": action.annotations,
        "limits": action.limits,
        "updated": action.updated,
    })
}

/// An action in a list: no code, no parameters.
pub fn action_listed(action: &Action) -> Value {
    json!({
        "namespace": action.namespace,
        "name": action.name,
        "version": action.version,
        "publish": action.publish,
        "annotations": action.annotations,
        "limits": action.limits,
        "exec": {"binary": matches!(action.exec, Exec::Code { .. } | Exec::Blackbox { .. }) && action.exec.binary()},
        "updated": action.updated,
    })
}

/// A package or a binding, without what is in it.
pub fn package_view(package: &Package) -> Value {
    json!(package)
}

/// A package or a binding, with what is in it: its feeds apart from its other
/// actions.
pub fn package_contents_view<'a>(package: &Package, actions: impl IntoIterator<Item = &'a Action>) -> Value {
    let is_feed = |action: &&Action| action.annotations.get("feed").is_some();
    let item =
        |action: &Action| json!({"name": action.name, "version": action.version, "annotations": action.annotations});
    let (feeds, actions): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_feed);
    let mut view = package_view(package);
    view["actions"] = actions.into_iter().map(item).collect();
    view["feeds"] = feeds.into_iter().map(item).collect();
    view
}

/// A package in a list: no parameters. What is no binding shows `false`.
pub fn package_listed(package: &Package) -> Value {
    json!({
        "namespace": package.namespace,
        "name": package.name,
        "version": package.version,
        "publish": package.publish,
        "annotations": package.annotations,
        "updated": package.updated,
        "binding": package.binding.as_ref().map_or(Value::Bool(false), |binding| json!(binding)),
    })
}

/// A trigger, with its rules once it had one.
pub fn trigger_view(trigger: &Trigger) -> Value {
    json!(trigger)
}

/// A trigger in a list: neither parameters nor rules.
pub fn trigger_listed(trigger: &Trigger) -> Value {
    json!({
        "namespace": trigger.namespace,
        "name": trigger.name,
        "version": trigger.version,
        "publish": trigger.publish,
        "annotations": trigger.annotations,
        "updated": trigger.updated,
    })
}

/// A rule, with its state, which its trigger knows.
pub fn rule_view(rule: &Rule, status: RuleStatus) -> Value {
    let mut view = rule_listed(rule);
    view["status"] = json!(status);
    view
}

/// A rule in a list: no state.
pub fn rule_listed(rule: &Rule) -> Value {
    json!(rule)
}
