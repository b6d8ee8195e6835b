//! The OpenAPI document, written from the table of [operations](Operation).
//!
//! Nothing is described twice: paths, methods, words and who may ask are the
//! table's, shapes are the `api` crate's, ranges and kinds those in force here,
//! and which statuses there are is [`answers`]', a closed `match` over the same
//! operations. Every test of the controller checks each answer it gets against
//! these statuses, and `make test-api` lets schemathesis look for others.
//!
//! Why no generator library: those that fit Rust (utoipa among them) describe
//! types that are derived and handlers that are annotated. Here bodies are read
//! by hand for the sake of OpenWhisk's words, views differ from what is stored,
//! and there is one handler for many paths: what such a library could derive is
//! what this document must not say.

pub mod answers;
mod parameters;

use serde_json::{Map, Value, json};
use whisker_api::schema::{Facts, shape, shapes};

use crate::{
    config::Config,
    operation::{Access, Operation},
};

/// Which paths a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those below `/api/v1`.
    Api,
    /// The others: what operators and probes look at.
    Platform,
}

impl Part {
    /// Where the part's paths begin.
    pub fn root(self) -> &'static str {
        match self {
            Part::Api => "/api/v1",
            Part::Platform => "",
        }
    }

    /// The path of an operation within this part, if it is in it.
    fn path(self, operation: Operation) -> Option<&'static str> {
        let below = operation.path().strip_prefix(Part::Api.root());
        let path = match self {
            Part::Api => below?,
            Part::Platform if below.is_none() => operation.path(),
            Part::Platform => return None,
        };
        match path {
            "" => Some("/"),
            // That of any path is told in words.
            "*" => None,
            path => Some(path),
        }
    }
}

const API: &str = "OpenWhisk's REST API, as Whisker serves it.\n\n\
    User name and password of basic authentication are the two halves of a key, `uuid:key`. \
    The namespace `_` is that of the key. Every answer carries `X-Request-ID`: the one that the request had, \
    or a new one. What is refused is told as `{\"error\", \"code\"}`.\n\n\
    `OPTIONS` is answered on every path, without credentials, with `200`. A method that a path does not have \
    is `404`, and without credentials `401`.";

const PLATFORM: &str = "What a Whisker server tells of itself, to anyone who can reach it: operators and their probes.\n\n\
    `OPTIONS` is answered on every path with `200`. A method that a path does not have is `405`, and so is \
    every other path.";

/// The document.
pub fn document(part: Part, config: &Config) -> Value {
    let mut paths = Map::new();
    for &operation in Operation::ALL {
        let Some(path) = part.path(operation) else { continue };
        let item = paths.entry(path).or_insert_with(|| json!({}));
        for method in operation.methods() {
            item[method.as_str().to_ascii_lowercase()] = describe(operation, method.as_str(), config);
        }
    }
    let facts = Facts { manifest: &config.manifest, limits: &config.limits.actions };
    let (title, description) = match part {
        Part::Api => ("Whisker", API),
        Part::Platform => ("Whisker, the server", PLATFORM),
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0", "description": description},
        "servers": [{"url": if part == Part::Api { part.root() } else { "/" }}],
        "paths": paths,
        "components": {"schemas": shapes(&facts), "responses": answers::refused(), "headers": answers::headers()},
    });
    if part == Part::Api {
        document["components"]["securitySchemes"] =
            json!({"key": {"type": "http", "scheme": "basic", "description": "`uuid` and `key` of `uuid:key`."}});
    }
    document
}

fn describe(operation: Operation, method: &str, config: &Config) -> Value {
    let text = operation.description();
    let mut lines = text.lines().map(str::trim);
    let summary: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let description: Vec<_> = lines.collect();
    let id = match operation.methods() {
        [_] => camel(operation.name()),
        _ => format!("{}{}", camel(operation.name()), capital(&method.to_ascii_lowercase())),
    };
    let mut described = json!({"operationId": id, "tags": [tag(operation)], "summary": summary.join(" ")});
    if !description.is_empty() {
        described["description"] = description.join(" ").into();
    }
    let parameters = parameters::of(operation, config);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = body(operation, method) {
        described["requestBody"] = body;
    }
    described["responses"] = answers::of(operation);
    match operation.access() {
        Access::Open => {}
        Access::Key => described["security"] = json!([{"key": []}]),
        Access::Action => described["security"] = json!([{}, {"key": []}]),
    }
    described
}

/// The body of a request, if it has one.
fn body(operation: Operation, method: &str) -> Option<Value> {
    use Operation as O;
    let (name, required) = match operation {
        O::PutAction | O::PutPackageAction => ("ActionPut", true),
        O::PutPackage => ("PackagePut", true),
        O::PutTrigger => ("TriggerPut", true),
        O::PutRule => ("RulePut", true),
        O::SwitchRule => ("RuleStatusPut", true),
        O::InvokeAction | O::InvokePackageAction | O::FireTrigger => ("Payload", false),
        O::Web if matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") => {
            return Some(json!({"content": {"*/*": {}}, "description": "Of any type that the action reads."}));
        }
        _ => return None,
    };
    Some(json!({"required": required, "content": {"application/json": {"schema": shape(name)}}}))
}

/// Under which heading an operation is described.
fn tag(operation: Operation) -> &'static str {
    let path = operation.path();
    for tag in ["actions", "packages", "triggers", "rules", "activations", "web"] {
        if path.split('/').any(|segment| segment == tag) {
            return tag;
        }
    }
    if path.contains("docs") {
        "documentation"
    } else if path.contains("namespaces") {
        "namespaces"
    } else {
        "server"
    }
}

fn camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests;
