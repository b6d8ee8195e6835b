//! What is in paths and behind `?`.

use serde_json::{Value, json};
use whisker_api::schema::{activation_id, entity_name, millis};

use crate::{
    config::Config,
    operation::{Access, Operation},
};

/// An operation's parameters.
pub fn of(operation: Operation, config: &Config) -> Vec<Value> {
    let names = operation.path().split(['{', '}']).skip(1).step_by(2);
    let mut parameters: Vec<_> = names.map(|name| in_path(operation, name)).collect();
    parameters.extend(in_query(operation, config).into_iter().map(|(name, schema, description)| {
        json!({"name": name, "in": "query", "schema": schema, "description": description})
    }));
    parameters
}

fn in_path(operation: Operation, name: &str) -> Value {
    let schema = if name == "activation" { activation_id() } else { entity_name() };
    let description = match name {
        "namespace" if operation.access() == Access::Key => "The namespace; `_` is that of the key.",
        "namespace" => "The namespace.",
        "package" if operation == Operation::Web => "The package; `default` for actions in none.",
        "action" if operation == Operation::Web => "The action, and maybe an extension.",
        _ => "Its name.",
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema, "description": description})
}

fn in_query(operation: Operation, config: &Config) -> Vec<(&'static str, Value, &'static str)> {
    use Operation as O;
    let limits = &config.limits;
    let boolean = |default: bool| json!({"type": "boolean", "default": default});
    let page = || {
        let limit =
            json!({"type": "integer", "minimum": 0, "maximum": limits.list_max, "default": limits.list_default});
        vec![
            ("limit", limit, "Items shown at most; 0 is as many as possible."),
            (
                "skip",
                json!({"type": "integer", "minimum": 0, "maximum": i64::MAX, "default": 0}),
                "Items left out first.",
            ),
            ("count", boolean(false), "Show how many there are instead, less those left out."),
        ]
    };
    match operation {
        O::ListActions | O::ListPackageActions | O::ListPackages | O::ListTriggers | O::ListRules => page(),
        O::ListActivations => {
            let mut parameters = page();
            parameters.extend([
                ("docs", boolean(false), "Show whole records; not with `count`."),
                ("name", json!({"type": "string"}), "Only those of `action`, or of `package/action`."),
                ("since", millis(), "Only those that began then or later, in ms since 1970."),
                ("upto", millis(), "Only those that began then or earlier, in ms since 1970."),
            ]);
            parameters
        }
        O::ReadAction | O::ReadPackageAction => vec![("code", boolean(true), "Show the code too.")],
        O::PutAction | O::PutPackageAction | O::PutPackage | O::PutTrigger | O::PutRule => {
            vec![("overwrite", boolean(false), "Update what is there, if it is.")]
        }
        O::DeletePackage => vec![("force", boolean(false), "Delete whatever is in it too.")],
        O::InvokeAction | O::InvokePackageAction => {
            let max_ms = u64::try_from(limits.blocking_wait.as_millis()).unwrap_or(u64::MAX);
            let timeout = json!({"type": "integer", "minimum": 1, "maximum": max_ms, "default": max_ms});
            vec![
                ("blocking", boolean(false), "Wait for the outcome."),
                ("result", boolean(false), "Show the bare result, if waiting for it."),
                ("timeout", timeout, "How long to wait, in ms; it goes on after that."),
            ]
        }
        O::Api
        | O::ApiDocument
        | O::ApiDocs
        | O::ApiDocsPage
        | O::ListNamespaces
        | O::ReadLimits
        | O::DeleteAction
        | O::DeletePackageAction
        | O::ReadPackage
        | O::ReadTrigger
        | O::DeleteTrigger
        | O::FireTrigger
        | O::ReadRule
        | O::DeleteRule
        | O::SwitchRule
        | O::ReadActivation
        | O::ReadLogs
        | O::ReadResult
        | O::Web
        | O::Deployment
        | O::Ping
        | O::Ready
        | O::Metrics
        | O::ListInvokers
        | O::CountHealthyInvokers
        | O::InvokersReady
        | O::CountInFlight
        | O::Document
        | O::Docs
        | O::DocsPage
        | O::Preflight => Vec::new(),
    }
}
