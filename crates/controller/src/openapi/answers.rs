//! What operations answer: every status there is, with its body.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use whisker_api::schema::{list_of, shape};

use crate::operation::{Access, Operation};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const HTML: &str = "text/html";

/// An answer that is no refusal.
struct Answer {
    status: StatusCode,
    description: &'static str,
    /// The type of its body, and its shape.
    body: Option<(&'static str, Value)>,
    /// Headers that only this one carries, by their name among the components.
    headers: &'static [&'static str],
}

impl Answer {
    fn new(status: StatusCode, description: &'static str, media: &'static str, shape: Value) -> Self {
        Self { status, description, body: Some((media, shape)), headers: &[] }
    }

    /// 200 with JSON.
    fn ok(description: &'static str, shape: Value) -> Vec<Self> {
        vec![Self::new(StatusCode::OK, description, JSON, shape)]
    }

    fn with(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }
}

/// The header that names an activation, among the components.
const ACTIVATION: &[&str] = &["X-OpenWhisk-Activation-Id"];

/// What comes of an operation that is done.
fn done(operation: Operation) -> Vec<Answer> {
    use Operation as O;
    use StatusCode as S;
    // Every list can be counted instead.
    let listed = |items: Value, collection: &str| {
        let mut counted = json!({"type": "object", "required": [collection]});
        counted["properties"][collection] = json!({"type": "integer", "minimum": 0});
        counted["description"] = "With `count`.".into();
        Answer::ok("The list, newest first.", json!({"oneOf": [items, counted]}))
    };
    let redirect = || Answer::new(S::PERMANENT_REDIRECT, "Where the page is.", HTML, json!({})).with(&["Location"]);
    match operation {
        O::Api => Answer::ok("Versions.", shape("Api")),
        O::ApiDocument | O::Document => Answer::ok("OpenAPI 3.1.", json!({"type": "object"})),
        O::ApiDocs | O::Docs => vec![redirect()],
        O::ApiDocsPage | O::DocsPage => vec![Answer::new(S::OK, "The page.", HTML, json!({"type": "string"}))],
        O::ListNamespaces => Answer::ok("One name.", json!({"type": "array", "items": {"type": "string"}})),
        O::ReadLimits => Answer::ok("The limits.", shape("NamespaceLimits")),
        O::ListActions | O::ListPackageActions => listed(list_of("ActionListed"), "actions"),
        O::ReadAction | O::ReadPackageAction => Answer::ok("The action.", shape("Action")),
        O::PutAction | O::PutPackageAction => Answer::ok("The action as it is now.", shape("Action")),
        O::DeleteAction | O::DeletePackageAction => Answer::ok("The action as it was.", shape("Action")),
        O::InvokeAction | O::InvokePackageAction => {
            let outcome = || json!({"anyOf": [shape("Activation"), shape("Result")]});
            let failed = json!({"anyOf": [shape("Activation"), shape("Result"), shape("Error")]});
            vec![
                Answer::new(S::OK, "The record, or the bare result.", JSON, outcome()).with(ACTIVATION),
                Answer::new(S::ACCEPTED, "It goes on.", JSON, shape("Accepted")).with(ACTIVATION),
                Answer::new(S::BAD_GATEWAY, "The action failed.", JSON, outcome()).with(ACTIVATION),
                Answer::new(S::INTERNAL_SERVER_ERROR, "The platform failed.", JSON, failed),
            ]
        }
        O::ListPackages => listed(list_of("PackageListed"), "packages"),
        O::ReadPackage => Answer::ok("The package, and what is in it.", shape("PackageContents")),
        O::PutPackage => Answer::ok("The package as it is now.", shape("Package")),
        O::DeletePackage => Answer::ok("The package as it was.", shape("Package")),
        O::ListTriggers => listed(list_of("TriggerListed"), "triggers"),
        O::ReadTrigger => Answer::ok("The trigger.", shape("Trigger")),
        O::PutTrigger => Answer::ok("The trigger as it is now.", shape("Trigger")),
        O::DeleteTrigger => Answer::ok("The trigger as it was.", shape("Trigger")),
        O::FireTrigger => vec![
            Answer::new(S::ACCEPTED, "Fired.", JSON, shape("Accepted")).with(ACTIVATION),
            Answer { status: S::NO_CONTENT, description: "No rule is active.", body: None, headers: &[] },
        ],
        O::ListRules => listed(list_of("RuleListed"), "rules"),
        O::ReadRule => Answer::ok("The rule.", shape("Rule")),
        O::PutRule => Answer::ok("The rule as it is now.", shape("Rule")),
        O::DeleteRule => Answer::ok("The rule as it was.", shape("Rule")),
        O::SwitchRule => vec![Answer::new(S::OK, "It is so.", TEXT, json!({"const": "OK"}))],
        O::ListActivations => {
            let items = json!({"anyOf": [list_of("ActivationListed"), list_of("Activation")]});
            listed(items, "activations")
        }
        O::ReadActivation => Answer::ok("The record.", shape("Activation")),
        O::ReadLogs => Answer::ok("The logs.", shape("Logs")),
        O::ReadResult => Answer::ok("The result.", shape("Response")),
        O::Web => Vec::new(),
        O::Deployment => Answer::ok("The deployment.", shape("Deployment")),
        O::Ping => vec![Answer::new(S::OK, "It lives.", TEXT, json!({"const": "pong"}))],
        O::Ready => vec![
            Answer::new(S::OK, "It takes work.", JSON, shape("Ready")),
            Answer::new(S::SERVICE_UNAVAILABLE, "It does not.", JSON, shape("Ready")),
        ],
        O::Metrics => vec![Answer::new(S::OK, "The metrics.", TEXT, json!({"type": "string"}))],
        O::ListInvokers => Answer::ok("Their states.", shape("Invokers")),
        O::InvokersReady => vec![
            Answer::new(S::OK, "One does.", JSON, shape("Healthy")),
            Answer::new(S::INTERNAL_SERVER_ERROR, "None does.", JSON, shape("Unhealthy")),
        ],
        O::CountHealthyInvokers | O::CountInFlight => Answer::ok("How many.", json!({"type": "integer", "minimum": 0})),
        O::Preflight => vec![Answer::new(S::OK, "It may.", TEXT, json!({"const": "OK"}))],
    }
}

/// With which statuses an operation is refused.
fn refusals(operation: Operation) -> Vec<StatusCode> {
    use StatusCode as S;
    let mut refusals = vec![S::REQUEST_HEADER_FIELDS_TOO_LARGE];
    // A bare status is sent whatever is accepted.
    let bare = matches!(operation, Operation::SwitchRule | Operation::Preflight);
    if !bare && done(operation).iter().any(|answer| answer.status.is_success() && answer.body.is_some()) {
        refusals.push(S::NOT_ACCEPTABLE);
    }
    if operation.access() != Access::Key {
        return refusals;
    }
    // The store is asked who it is.
    refusals.extend([S::UNAUTHORIZED, S::TOO_MANY_REQUESTS, S::INTERNAL_SERVER_ERROR, S::SERVICE_UNAVAILABLE]);
    let path = operation.path();
    if !path.contains("{namespace}") {
        return refusals;
    }
    // A name may be none, or another's, and what it names may be missing.
    refusals.extend([S::BAD_REQUEST, S::FORBIDDEN, S::NOT_FOUND]);
    // Names are of one kind of entity.
    if ["{action}", "{package}", "{trigger}", "{rule}"].iter().any(|entity| path.contains(entity)) {
        refusals.push(S::CONFLICT);
    }
    // Bindings lead to one another, also those of components and rules' actions.
    if ["{action}", "{package}", "{rule}"].iter().any(|entity| path.contains(entity)) {
        refusals.push(S::UNPROCESSABLE_ENTITY);
    }
    if matches!(operation.methods(), [Method::PUT | Method::POST]) {
        refusals.extend([S::REQUEST_TIMEOUT, S::PAYLOAD_TOO_LARGE, S::UNSUPPORTED_MEDIA_TYPE]);
    }
    refusals
}

/// All statuses, in order.
pub fn statuses(operation: Operation) -> Vec<StatusCode> {
    let mut statuses = refusals(operation);
    statuses.extend(done(operation).iter().map(|answer| answer.status));
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The responses of an operation, as the document has them.
pub fn of(operation: Operation) -> Value {
    if operation.access() == Access::Action {
        // Its type, if it has a body at all, is the action's too.
        let any = json!({"description": "Whatever the action answers.", "headers": common()});
        return json!({"404": refused_as(StatusCode::NOT_FOUND), "default": any});
    }
    let mut responses = BTreeMap::new();
    for status in refusals(operation) {
        responses.insert(status.as_u16(), refused_as(status));
    }
    for answer in done(operation) {
        let mut response = json!({"description": answer.description, "headers": common()});
        for header in answer.headers {
            response["headers"][header] = json!({"$ref": format!("#/components/headers/{header}")});
        }
        if let Some((media, shape)) = answer.body {
            // A path's own body of a status may stand beside a refusal's.
            let shape = match responses.contains_key(&answer.status.as_u16()) && !shape.to_string().contains("/Error\"")
            {
                true => json!({"anyOf": [shape, {"$ref": "#/components/schemas/Error"}]}),
                false => shape,
            };
            response["content"][media] = json!({"schema": shape});
        }
        responses.insert(answer.status.as_u16(), response);
    }
    responses.into_iter().map(|(status, response)| (status.to_string(), response)).collect::<Map<_, _>>().into()
}

fn refused_as(status: StatusCode) -> Value {
    json!({"$ref": format!("#/components/responses/{}", status.as_u16())})
}

fn common() -> Value {
    json!({"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}})
}

/// The refusals that operations share.
pub fn refused() -> Value {
    use StatusCode as S;
    let reasons = [
        (S::BAD_REQUEST, "A name, a parameter or the body is not as it must be."),
        (S::UNAUTHORIZED, "There are no credentials, or they are wrong, or their subject is blocked."),
        (S::FORBIDDEN, "Whoever asks may not."),
        (S::NOT_FOUND, "There is no such resource, or path."),
        (S::NOT_ACCEPTABLE, "The answer's type is not among those that the request accepts."),
        (S::REQUEST_TIMEOUT, "The body did not arrive in time."),
        (S::CONFLICT, "It is there already, or is of another kind, or was changed meanwhile, or is not empty."),
        (S::PAYLOAD_TOO_LARGE, "The body, or a part of it, is too large."),
        (S::UNSUPPORTED_MEDIA_TYPE, "The body is not `application/json`."),
        (S::UNPROCESSABLE_ENTITY, "Package bindings lead in a circle."),
        (S::TOO_MANY_REQUESTS, "A limit on calls is reached, or on wrong keys."),
        (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "The URI is too long."),
        (S::INTERNAL_SERVER_ERROR, "The platform failed."),
        (S::SERVICE_UNAVAILABLE, "The platform cannot take this now."),
    ];
    let mut refused = Map::new();
    for (status, reason) in reasons {
        let mut response =
            json!({"description": reason, "headers": common(), "content": {JSON: {"schema": shape("Error")}}});
        if status == S::UNAUTHORIZED {
            response["headers"]["WWW-Authenticate"] = json!({"$ref": "#/components/headers/WWW-Authenticate"});
        }
        refused.insert(status.as_u16().to_string(), response);
    }
    refused.into()
}

/// The headers that answers carry.
pub fn headers() -> Value {
    let header = |description: &str, required: bool| json!({"description": description, "required": required, "schema": {"type": "string"}});
    json!({
        "X-Request-ID": header("Names the request.", true),
        "X-OpenWhisk-Activation-Id": header("Names the activation.", true),
        "WWW-Authenticate": header("Asks for a key.", true),
        "Location": header("Where it is.", true),
    })
}
