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
/// The answer of a path outside the API.
pub const ONLY_OPTIONS: &str = "HTTP method not allowed, supported methods: OPTIONS";

/// 403 that names what may not be accessed.
pub fn not_authorized(resource: impl std::fmt::Display) -> String {
    format!("The supplied authentication is not authorized to access '{resource}'.")
}

/// 403 of a kind that the subject may not use.
pub fn kind_not_authorized(kind: &str) -> String {
    format!("The supplied authentication is not authorized to access actions of kind '{kind}'.")
}

/// 404 that names what is missing.
pub fn missing(resource: impl std::fmt::Display) -> String {
    format!("The requested resource '{resource}' does not exist.")
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

/// 429 of the rate throttle.
pub fn too_many_requests(count: u64, allowed: u64) -> String {
    format!("Too many requests in the last minute (count: {count}, allowed: {allowed}).")
}

/// 429 of the concurrency throttle.
pub fn too_many_concurrent(count: u64, allowed: u64) -> String {
    format!("Too many concurrent requests in flight (count: {count}, allowed: {allowed}).")
}
