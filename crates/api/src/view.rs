//! Entities as the REST API shows them.

use serde_json::{Map, Value, json};
use whisker_entity::{Action, Exec};

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
