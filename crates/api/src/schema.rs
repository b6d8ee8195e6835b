//! The shapes of bodies and views, as JSON schemas (2020-12) for the OpenAPI
//! document.
//!
//! Written by hand beside the readers and views that they describe, for the
//! reason for which those are: bodies are read member by member in OpenWhisk's
//! order and words, views are not the types that are stored, and what a derive
//! could see of either is not what clients send and get. Ranges and kinds come
//! from the settings in force, so the document of a deployment is its own. That
//! the shapes are true is shown by `make test-api`, which holds thousands of
//! real answers against them and bears no member that is not mentioned.

use serde_json::{Map, Value, json};
use whisker_entity::{EntityName, LimitRange, LimitRanges, Manifest, RuleStatus, Status};

/// What the shapes of a deployment depend on.
pub struct Facts<'a> {
    /// The kinds there are.
    pub manifest: &'a Manifest,
    /// What an action's limits may be.
    pub limits: &'a LimitRanges,
}

/// All shapes, by the names that [`shape`] refers to.
pub fn shapes(facts: &Facts<'_>) -> Map<String, Value> {
    let mut all = Map::new();
    for group in [basics(), actions(facts), packages(), triggers(), rules(), activations(), platform()] {
        all.extend(group);
    }
    all
}

/// Refers to a shape.
pub fn shape(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A list of a shape.
pub fn list_of(name: &str) -> Value {
    json!({"type": "array", "items": shape(name)})
}

/// The name of an entity.
pub fn entity_name() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": EntityName::MAX_CHARS,
        "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_@ .&-]*[A-Za-z0-9_@.&-])?$",
    })
}

/// The id of an activation.
pub fn activation_id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
}

/// Milliseconds since 1970.
pub fn millis() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// Members of an object, by name.
type Members = Vec<(&'static str, Value)>;
type Shapes = Vec<(String, Value)>;

/// An object that has these members, and may have others of `optional`.
fn object(members: Members, optional: Members) -> Value {
    let required: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    let mut object = json!({"type": "object"});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object["properties"] =
        members.into_iter().chain(optional).map(|(name, shape)| (name.to_owned(), shape)).collect::<Map<_, _>>().into();
    object
}

fn join(mut members: Members, more: Members) -> Members {
    members.extend(more);
    members
}

fn described(mut shape: Value, description: &str) -> Value {
    shape["description"] = description.into();
    shape
}

fn named(name: &str, shape: Value, description: &str) -> (String, Value) {
    (name.to_owned(), described(shape, description))
}

fn string() -> Value {
    json!({"type": "string"})
}

fn boolean() -> Value {
    json!({"type": "boolean"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn strings() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn basics() -> Shapes {
    let parameter = object(
        vec![("key", string()), ("value", json!({"description": "Any JSON."}))],
        vec![
            ("init", described(boolean(), "It goes to the container's environment, not to the arguments.")),
            ("encryption", described(string(), "How the value is encrypted; it is clear without this.")),
        ],
    );
    let error = object(
        vec![
            ("error", described(string(), "What is wrong, in words.")),
            ("code", described(string(), "Names the request, as `X-Request-ID` does.")),
        ],
        vec![],
    );
    vec![
        named("Error", error, "Why a request was not done."),
        named("Parameter", parameter, "A keyed value."),
        named("Parameters", list_of("Parameter"), "Keyed values; of several with one key the last counts."),
        named(
            "Version",
            json!({"type": "string", "pattern": r"^\d{1,9}\.\d{1,9}\.\d{1,9}$"}),
            "Raised by every update; never `0.0.0`.",
        ),
        named("Payload", json!({"type": "object"}), "Arguments, by name."),
    ]
}

/// Members that entities have in common.
fn entity() -> Members {
    vec![
        ("namespace", described(string(), "Where it lives: `namespace`, or `namespace/package`.")),
        ("name", entity_name()),
        ("version", shape("Version")),
        ("publish", boolean()),
        ("annotations", shape("Parameters")),
        ("updated", described(millis(), "When it was last written, in ms since 1970.")),
    ]
}

/// Members that bodies of entities have in common; none is needed.
fn body() -> Members {
    vec![("annotations", shape("Parameters")), ("version", shape("Version")), ("publish", boolean())]
}

fn actions(facts: &Facts<'_>) -> Shapes {
    let whole = |range: LimitRange, what| {
        described(json!({"type": "integer", "minimum": range.min, "maximum": range.max}), what)
    };
    let ranges = facts.limits;
    let limits_put = vec![
        ("timeout", whole(ranges.timeout_ms, "Longest run, in ms.")),
        ("memory", whole(ranges.memory_mb, "Memory of a container, in MB.")),
        ("logs", whole(ranges.logs_mb, "Logs kept of one run, in MB.")),
        ("concurrency", whole(ranges.concurrency, "Runs at once in one container.")),
        ("instances", described(count(), "Containers at once; at most as many as the namespace may have runs.")),
    ];
    let limits = vec![("timeout", count()), ("memory", count()), ("logs", count()), ("concurrency", count())];
    let exec = vec![
        ("code", described(string(), "Source, or base64 of an archive.")),
        ("binary", described(boolean(), "Whether the code is base64.")),
        ("main", described(string(), "The entry point.")),
        ("image", described(string(), "The image, of the kind `blackbox`.")),
        ("components", described(strings(), "The actions in order, of the kind `sequence`.")),
    ];
    let put = vec![
        ("exec", shape("ExecPut")),
        ("parameters", shape("Parameters")),
        ("limits", shape("ActionLimitsPut")),
        ("delAnnotations", described(strings(), "Keys of annotations to take away.")),
    ];
    let action = vec![("exec", shape("Exec")), ("parameters", shape("Parameters")), ("limits", shape("ActionLimits"))];
    let binding = vec![("binding", described(string(), "The binding through which it was read without code."))];
    let listed = vec![("exec", object(vec![("binary", boolean())], vec![])), ("limits", shape("ActionLimits"))];
    vec![
        named("ActionPut", object(vec![], join(put, body())), "A new action, which needs `exec`, or changes to one."),
        named("ExecPut", exec_put(facts.manifest), "What an action is to execute."),
        named("ActionLimitsPut", object(vec![], limits_put), "Those that are absent stay, or take their defaults."),
        named("Action", object(join(entity(), action), binding), "An action."),
        named("ActionListed", object(join(entity(), listed), vec![]), "An action, without code and parameters."),
        named("Exec", object(vec![("kind", string())], exec), "What an action executes."),
        named("ActionLimits", object(limits, vec![("instances", count())]), "What an action may use."),
    ]
}

/// Each kind of what can be executed has members of its own.
fn exec_put(manifest: &Manifest) -> Value {
    let main = ("main", described(string(), "The entry point; `main` unless it is said."));
    let kinds = |main_is_needed: bool| -> Vec<&str> {
        let of = manifest.runtimes().filter(|kind| kind.require_main == main_is_needed && !kind.deprecated);
        of.map(|kind| kind.kind.as_str()).collect()
    };
    let kind = |kinds: Vec<&str>| ("kind", json!({"type": "string", "enum": kinds}));
    let code = ("code", described(string(), "Source, or base64 of an archive."));
    let image = ("image", described(string(), "The image, as `docker pull` takes it."));
    let components = ("components", described(strings(), "The actions in order: `/namespace/[package/]action`."));
    let mut forms = Vec::new();
    if !kinds(false).is_empty() {
        forms.push(object(vec![kind(kinds(false)), code.clone()], vec![main.clone()]));
    }
    if !kinds(true).is_empty() {
        forms.push(object(vec![kind(kinds(true)), code.clone(), main.clone()], vec![]));
    }
    forms.push(object(vec![kind(vec!["blackbox"]), image], vec![code, main]));
    forms.push(object(vec![kind(vec!["sequence"]), components], vec![]));
    json!({"oneOf": forms})
}

fn packages() -> Shapes {
    let binding = object(vec![("namespace", string()), ("name", entity_name())], vec![]);
    let none = json!({"type": "object", "maxProperties": 0, "description": "It is no binding."});
    let bound = || json!({"oneOf": [shape("Binding"), none]});
    let package = || join(entity(), vec![("binding", bound()), ("parameters", shape("Parameters"))]);
    let contents = || vec![("actions", list_of("PackagedAction")), ("feeds", list_of("PackagedAction"))];
    let packaged = vec![("name", entity_name()), ("version", shape("Version")), ("annotations", shape("Parameters"))];
    let listed = json!({"oneOf": [shape("Binding"), {"const": false, "description": "It is no binding."}]});
    let put = vec![("binding", bound()), ("parameters", shape("Parameters"))];
    vec![
        named("PackagePut", object(vec![], join(put, body())), "A new package or binding, or changes to one."),
        named("Package", object(package(), vec![]), "A package or a binding."),
        named("PackageContents", object(join(package(), contents()), vec![]), "A package, with what is in it."),
        named("PackageListed", object(join(entity(), vec![("binding", listed)]), vec![]), "Without parameters."),
        named("PackagedAction", object(packaged, vec![]), "An action as its package tells of it."),
        named("Binding", binding, "The package that a binding stands for."),
    ]
}

fn triggers() -> Shapes {
    let link = object(vec![("action", shape("Reference")), ("status", shape("RuleStatus"))], vec![]);
    let rules = json!({"type": "object", "additionalProperties": link, "description": "Joined rules, by path."});
    let trigger = vec![("parameters", shape("Parameters")), ("limits", json!({"type": "object", "maxProperties": 0}))];
    let put = vec![("parameters", shape("Parameters"))];
    vec![
        named("TriggerPut", object(vec![], join(put, body())), "A new trigger, or changes to one."),
        named("Trigger", object(join(entity(), trigger), vec![("rules", rules)]), "A trigger."),
        named("TriggerListed", object(entity(), vec![]), "A trigger, without parameters and rules."),
    ]
}

fn rules() -> Shapes {
    let reference = object(vec![("path", string()), ("name", entity_name())], vec![]);
    let name = |what| json!({"description": what, "oneOf": [{"type": "string"}, shape("Reference")]});
    let put = vec![
        ("trigger", name("What fires it: `/namespace/trigger`.")),
        ("action", name("What it invokes: `/namespace/[package/]action`.")),
    ];
    let rule = || join(entity(), vec![("trigger", shape("Reference")), ("action", shape("Reference"))]);
    let status = json!([RuleStatus::Active, RuleStatus::Inactive]);
    let status_put = object(vec![("status", shape("RuleStatus"))], vec![]);
    vec![
        named("RulePut", object(vec![], join(put, body())), "A new rule, which needs both, or changes to one."),
        named("RuleStatusPut", status_put, "Switches a rule on or off."),
        named("Rule", object(join(rule(), vec![("status", shape("RuleStatus"))]), vec![]), "A rule."),
        named("RuleListed", object(rule(), vec![]), "A rule, without its state."),
        named("RuleStatus", json!({"type": "string", "enum": status}), "Whether a rule does anything."),
        named("Reference", reference, "An entity: the path it lives at, and its name there."),
    ]
}

fn activations() -> Shapes {
    let run = || {
        vec![
            ("namespace", described(entity_name(), "Of whoever invoked.")),
            ("name", described(entity_name(), "Of what ran.")),
            ("version", shape("Version")),
            ("publish", boolean()),
            ("annotations", shape("Parameters")),
            ("activationId", activation_id()),
            ("start", millis()),
        ]
    };
    let ended = || {
        vec![
            ("end", described(millis(), "Absent from a trigger's record, which has no end.")),
            ("duration", described(count(), "In ms.")),
            ("cause", described(activation_id(), "The activation that this is a part of.")),
        ]
    };
    let all = [Status::Success, Status::ApplicationError, Status::DeveloperError, Status::WhiskError];
    let words: Vec<_> = all.map(Status::words).into();
    let codes: Vec<_> = all.map(Status::code).into();
    let response = object(
        vec![("status", json!({"type": "string", "enum": words})), ("success", boolean())],
        vec![("result", json!({"description": "What the action answered."})), ("size", count())],
    );
    let whole = vec![("subject", string()), ("logs", strings()), ("response", shape("Response"))];
    let status_code = vec![("statusCode", json!({"type": "integer", "enum": codes}))];
    vec![
        named("Accepted", object(vec![("activationId", activation_id())], vec![]), "It goes on; this is its record."),
        named("Activation", object(join(run(), whole), ended()), "What a run left behind."),
        named("ActivationListed", object(join(run(), status_code), ended()), "Without logs and response."),
        named("Response", response, "How a run ended."),
        named("Logs", object(vec![("logs", strings())], vec![]), "Lines with time and stream."),
        named("Result", json!({"anyOf": [{"type": "object"}, {"type": "array"}]}), "What an action answered."),
    ]
}

fn platform() -> Shapes {
    let numbers = [
        "invocationsPerMinute",
        "concurrentInvocations",
        "firesPerMinute",
        "minActionMemory",
        "maxActionMemory",
        "minActionLogs",
        "maxActionLogs",
        "minActionTimeout",
        "maxActionTimeout",
        "minActionConcurrency",
        "maxActionConcurrency",
        "maxActionInstances",
    ];
    let limits = join(numbers.map(|name| (name, count())).into(), vec![("maxParameterSize", string())]);
    let own = vec![
        ("allowedKinds", described(strings(), "The kinds that may be created; all without this.")),
        ("storeActivations", described(boolean(), "Whether records are kept; they are without this.")),
        ("maxPayloadSize", string()),
        ("truncationSize", string()),
        ("warmedContainerKeepingCount", count()),
        ("warmedContainerKeepingTimeout", string()),
    ];
    let api = ["description", "api_version", "api_version_path", "build", "buildno"].map(|name| (name, string()));
    let paths = object(vec![("ui", string()), ("api-docs", string())], vec![]);
    let runtime = object(
        vec![
            ("kind", string()),
            ("image", string()),
            ("deprecated", boolean()),
            ("default", boolean()),
            ("attached", boolean()),
            ("requireMain", boolean()),
        ],
        vec![],
    );
    let families = json!({"type": "object", "additionalProperties": {"type": "array", "items": runtime}});
    let deployment = vec![
        ("description", string()),
        ("support", object(vec![("github", string()), ("slack", string())], vec![])),
        ("api_paths", strings()),
        ("limits", json!({"type": "object", "additionalProperties": count()})),
        ("runtimes", families),
    ];
    let states = json!({"type": "object", "additionalProperties": {"type": "string", "enum": ["up", "down"]}});
    vec![
        named("NamespaceLimits", object(limits, own), "Memory and logs in MB, times in ms."),
        named("Api", object(join(api.into(), vec![("swagger_paths", paths)]), vec![]), "Versions."),
        named("Deployment", object(deployment, vec![]), "Durations in ms, memory and logs in bytes."),
        named("Ready", object(vec![("ready", boolean()), ("missing", strings())], vec![]), "What is missing, if any."),
        named("Invokers", states, "States, by invoker."),
        named("Healthy", object(vec![("healthy", string())], vec![]), "How many of how many."),
        named("Unhealthy", object(vec![("unhealthy", string())], vec![]), "How many of how many."),
    ]
}
