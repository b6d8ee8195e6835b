//! The words that users see. Clients match on them, so they are OpenWhisk's
//! (`http/ErrorResponse.scala`), misspellings included.

/// 400 without a better text.
pub const BAD_REQUEST: &str = "The request contains bad syntax or cannot be fulfilled.";
/// 401 on an explicit challenge.
pub const UNAUTHORIZED: &str = "Authentication is possible but has failed or not yet been provided.";
/// 401 without credentials.
pub const CREDENTIALS_MISSING: &str = "The resource requires authentication, which was not supplied with the request";
/// 401 with credentials that are wrong.
pub const CREDENTIALS_REJECTED: &str = "The supplied authentication is invalid";
/// 403 without naming the resource.
pub const FORBIDDEN: &str = "The supplied authentication is not authorized to access this resource.";
/// 404 of a resource.
pub const MISSING: &str = "The requested resource does not exist.";
/// 404 of a path.
pub const NO_SUCH_PATH: &str = "The requested resource could not be found.";
/// 406.
pub const NOT_ACCEPTABLE: &str = "Resource representation is only available with these types:\n";
/// 409 of a write based on an old revision.
pub const CONCURRENT_MODIFICATION: &str = "Concurrent modification to resource detected.";
/// 409 of a name that another kind of entity has.
pub const OTHER_COLLECTION: &str = "Resource by this name exists but is not in this collection.";
/// 409 of a creation without `overwrite`.
pub const EXISTS: &str = "resource already exists";
/// 413 without a better text.
pub const TOO_LARGE: &str = "The request content is larger than the server is willing or able to process.";
/// 429 when a key is guessed.
pub const TOO_MANY_FAILED: &str = "Too many failed authentications from this address. Try again in a minute.";
/// 431.
pub const HEADERS_TOO_LARGE: &str = "The request's headers are larger than the server is willing to process.";
/// 500.
pub const INTERNAL: &str = "There was an internal server error.";
/// 500 of a document that cannot be read.
pub const CORRUPT: &str = "Resource is corrupted and cannot be read.";
/// 503.
pub const UNAVAILABLE: &str = "The server is currently unavailable (because it is overloaded or down for maintenance).";
/// 503 while the database is away.
pub const STORE_AWAY: &str = "The store does not answer at the moment. Try again in some seconds.";
/// 400 of a creation without `exec`.
pub const EXEC_UNDEFINED: &str = "exec undefined";
/// 400 of a payload that overrides final parameters.
pub const PARAMETERS_NOT_ALLOWED: &str = "Request defines parameters that are not allowed (e.g., reserved properties).";
/// 400 of `count` with `docs`.
pub const DOCS_NOT_PERMITTED: &str = "The parameter 'docs' is not permitted with 'count'.";
/// 400 below `limits`.
pub const LIMITS_ARE_FLAT: &str = "Inner entity level routes for limits are not yet implemented.";
/// 400 of a write to an action through a binding.
pub const NOT_ON_BINDING: &str = "Operation not permitted on package binding.";
/// 400 of a binding to nothing.
pub const BOUND_MISSING: &str = "Binding references a package that does not exist.";
/// 409 of a binding to what is no package.
pub const BOUND_IS_NO_PACKAGE: &str = "Cannot bind to a resource that is not a package.";
/// 400 of a binding to a binding.
pub const BOUND_IS_BINDING: &str = "Cannot bind to another package binding.";
/// 409 of an update that would make a package a binding.
pub const PACKAGE_STAYS_PACKAGE: &str = "Resource is a package and cannot be converted into a binding.";
/// 400 of a new trigger whose feed is no path.
pub const FEED_INVALID: &str = "Feed name is not valid";
/// 400 of a new rule that lacks a part.
pub const RULE_NEEDS_PARTS: &str = "rule requires a valid trigger and a valid action";
/// 404 of a rule that is to be switched on for a trigger that is gone.
pub const RULE_WITHOUT_TRIGGER: &str = "Only rules with existing triggers can be activated";
/// 400 of a web action that failed.
pub const WEB_ERROR: &str = "There was an error processing your request.";
/// 202 of a web action that did not answer in time.
pub const WEB_NOT_READY: &str = "Response not yet ready.";
/// 400 of a web action's `content-type` that is none.
pub const UNKNOWN_CONTENT_TYPE: &str = "Response did not specify a known content-type.";
/// 400 of a web action's body that is not of the type that it declares.
pub const CONTENT_TYPE_MISMATCH: &str = "Response type in header did not match generated content type.";
/// 404 of a web action's result without what the extension shows.
pub const PROPERTY_MISSING: &str = "Response does not include requested property.";
/// The answer of a path outside the API.
pub const ONLY_OPTIONS: &str = "HTTP method not allowed, supported methods: OPTIONS";

/// 400 of a sequence that is too long, and the error of one that grew so.
pub const SEQUENCE_TOO_LONG: &str = "Too many actions in the sequence.";
/// 400 of a sequence of nothing.
pub const SEQUENCE_EMPTY: &str = "No component specified for the sequence.";
/// 400 of a sequence that contains itself.
pub const SEQUENCE_CYCLIC: &str = "Sequence may not refer to itself.";
/// 400 of a sequence with a part that is missing, and the error of one that lost it.
pub const COMPONENT_MISSING: &str = "Sequence component does not exist.";
/// The error of a sequence that the platform failed.
pub const SEQUENCE_FAILED: &str = "Sequence failed.";
/// The error of a composition that is too long.
pub const COMPOSITION_TOO_LONG: &str = "Too many actions in the composition.";
/// The error of a composition that the platform failed.
pub const COMPOSITION_FAILED: &str = "Activation failure during composition.";
/// 400: annotations that cannot be heeded. Ours.
pub const RETRIES_OF_COMPOSITION: &str = "Sequences and conductors are not retried and have no dead letters: each of \
     their parts is waited for.";
/// The error of a sequence or composition that the platform's end cut short.
pub const COMPOSITION_INTERRUPTED: &str = "The platform was interrupted while the composition was running. \
     Its actions may have had effects and were not run again.";

/// The error of a sequence whose component did not answer in time.
pub fn component_timed_out(component: impl std::fmt::Display) -> String {
    format!("Timeout reached when retrieving activation {component} for sequence component.")
}

/// The error of a composition of which a part did not answer in time.
pub fn composition_timed_out(part: impl std::fmt::Display) -> String {
    format!("Timeout reached when retrieving activation {part} during composition.")
}

/// Told to a conductor: what it asked for is no name.
pub fn composition_bad_name(json: impl std::fmt::Display) -> String {
    format!("Failed to parse action name from json value {json} during composition.")
}

/// Told to a conductor: what it asked for is not there.
pub fn composition_missing(name: impl std::fmt::Display) -> String {
    format!("Failed to resolve action with name '{name}' during composition.")
}

/// Told to a conductor: it may not have what it asked for.
pub fn composition_forbidden(name: impl std::fmt::Display) -> String {
    format!("Failed entitlement check for action with name '{name}' during composition.")
}

/// 400 of a web action's result that the extension cannot show.
pub fn invalid_media(media: &str) -> String {
    format!("Response is not valid '{media}'.")
}

/// 403 that names what may not be accessed.
pub fn not_authorized(resource: impl std::fmt::Display) -> String {
    format!("The supplied authentication is not authorized to access '{resource}'.")
}

/// 403 of a kind that the subject may not use.
pub fn kind_not_authorized(kind: &str) -> String {
    format!("The supplied authentication is not authorized to access actions of kind '{kind}'.")
}

/// 403 of reading an action of others, where they may only be invoked.
pub fn action_execute_only(package: impl std::fmt::Display) -> String {
    format!("GET not permitted for '{package}' since it's an action in a shared package")
}

/// 403 of reading an action of others through a binding.
pub fn bound_action_execute_only(action: impl std::fmt::Display) -> String {
    format!("GET not permitted for '{action}'. Resource does not exist or is an action in a shared package binding.")
}

/// 403 of reading a package of others.
pub fn package_execute_only(package: impl std::fmt::Display) -> String {
    format!("GET not permitted for '{package}' since it's a shared package")
}

/// 403 of reading a binding to a package of others.
pub fn binding_execute_only(name: impl std::fmt::Display) -> String {
    format!("GET not permitted since {name} is a binding of a shared package")
}

/// 404 that names what is missing.
pub fn missing(resource: impl std::fmt::Display) -> String {
    format!("The requested resource '{resource}' does not exist.")
}

/// 400 of a limit on an action's containers that cannot be.
pub const INSTANCES_NEGATIVE: &str = "Action container concurrency must be greater than or equal to 0.";

/// 400 of a limit on an action's containers beyond the namespace's.
pub fn too_many_instances(allowed: u64) -> String {
    format!("Max action instance concurrency must not exceed your namespace concurrency of {allowed}.")
}

/// 400 of a package that may not be called so.
pub fn reserved_package(name: &str) -> String {
    format!("Package name '{name}' is reserved.")
}

/// 409 of a package that is to go with what is in it.
pub fn package_not_empty(count: u64) -> String {
    let noun = if count == 1 { "entity" } else { "entities" };
    format!("Package not empty (contains {count} {noun}). Set force param or delete package contents.")
}

/// 400 of a rule whose trigger or action, as `part` says, is not there.
pub fn part_missing(part: &str, name: impl std::fmt::Display) -> String {
    format!("{part} /{name} does not exist")
}

/// 400 of a rule whose trigger or action cannot be read.
pub fn part_corrupt(part: &str, name: impl std::fmt::Display) -> String {
    format!("{part} /{name} is corrupted")
}

/// In a trigger's log: a rule that is switched off.
pub fn rule_inactive(rule: impl std::fmt::Display, action: impl std::fmt::Display) -> String {
    format!("Rule '{rule}' is inactive, action '{action}' was not activated.")
}

/// 422 of bindings that lead to one another.
pub fn circular_binding(package: impl std::fmt::Display) -> String {
    format!("Package binding '{package}' contains a circular reference.")
}

/// 400 of a kind that only remains readable.
pub fn deprecated_kind(kind: &str) -> String {
    format!(
        "The '{kind}' runtime is no longer supported. You may read and delete but not update or invoke this action."
    )
}

/// 400 of a body that cannot be understood.
pub fn malformed_body(detail: &str) -> String {
    format!("The request content was malformed:\n{detail}")
}

/// 400 of a query parameter.
pub fn malformed_query(name: &str, detail: &str) -> String {
    format!("The query parameter '{name}' was malformed:\n{detail}")
}

/// 415.
pub fn unsupported_type(content_type: &str) -> String {
    format!("The request's Content-Type [{content_type}] is not supported. Expected:\napplication/json")
}

/// 413 of a part of an entity, or of a request.
pub fn larger_than_allowed(field: &str, is: u64, allowed: u64) -> String {
    format!("{field} larger than allowed: {is} > {allowed} bytes.")
}

/// 413 of a list of whole records.
pub fn list_too_large(allowed: u64) -> String {
    format!("The activations asked for have more than {allowed} bytes together: ask for fewer with 'limit'.")
}

/// 429 of the rate throttle.
pub fn too_many_requests(count: u64, allowed: u64) -> String {
    format!("Too many requests in the last minute (count: {count}, allowed: {allowed}).")
}

/// 429 of the concurrency throttle.
pub fn too_many_concurrent(count: u64, allowed: u64) -> String {
    format!("Too many concurrent requests in flight (count: {count}, allowed: {allowed}).")
}
