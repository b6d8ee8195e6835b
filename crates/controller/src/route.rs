//! The API on one page: which paths there are, with which methods, and what
//! each needs. A request becomes a [`Destination`] before anything is done for it,
//! and every destination is one [`Operation`].
//!
//! Why no router library: OpenWhisk's paths are matched segment by segment
//! before they are decoded (a name with `%2F` is a bad name, not two), a slash
//! at the end turns an action into a package, a wrong method below `/api/v1` is
//! 404 and elsewhere 405, and credentials come before all of it.

use http::Method;
use whisker_entity::{ActivationId, EntityName, EntityPath, InvalidName};
use whisker_store::Collection;

use crate::{
    operation::Operation,
    rejection::Rejection,
    web::{self, Target},
};

/// What anyone may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Any path, with OPTIONS; whether it is in the API.
    Options {
        /// Below `/api/v1`.
        api: bool,
    },
    /// `GET /`: the deployment.
    Deployment,
    /// `GET /ping`: we live.
    Ping,
    /// `GET /ready`: we can take work.
    Ready,
    /// `GET /metrics`, for Prometheus.
    Metrics,
    /// `GET /invokers`: their states.
    Invokers,
    /// `GET /invokers/healthy/count`.
    HealthyInvokers,
    /// `GET /invokers/ready`.
    InvokersReady,
    /// `GET /activation` and `/activation/count`: in flight.
    InFlight,
    /// `GET /api/v1`: versions.
    Api,
    /// The description of the API, or of what is outside it.
    Docs {
        /// Below `/api/v1`.
        api: bool,
        /// Which part.
        piece: Piece,
    },
}

/// Of the API's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// `GET /api-docs`: the OpenAPI document.
    Document,
    /// `GET /docs`: where the page is.
    Redirect,
    /// `GET /docs/index.html`: the page that shows it.
    Page,
}

/// What is asked for below `/api/v1/namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The caller's namespaces.
    Namespaces,
    /// The limits of a namespace.
    Limits(Space),
    /// A list.
    List(Space, Collection),
    /// The actions of a package.
    PackageList(Space, EntityName),
    /// An action, in a namespace or a package.
    Action(Verb, Space, Option<EntityName>, EntityName),
    /// A package or a binding.
    Package(Verb, Space, EntityName),
    /// A trigger.
    Trigger(Verb, Space, EntityName),
    /// A rule.
    Rule(Verb, Space, EntityName),
    /// The activations of a namespace.
    Activations(Space),
    /// One activation.
    Activation(Space, ActivationId, Part),
}

/// What is to be done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET.
    Read,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// POST.
    Activate,
}

/// Which part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Record,
    /// Its logs.
    Logs,
    /// Its result.
    Result,
}

/// A namespace in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Space {
    /// `_`: that of the caller.
    Own,
    /// One by name.
    Named(EntityName),
}

impl Space {
    /// The namespace, for a caller.
    pub fn resolve(&self, own: &EntityName) -> EntityPath {
        EntityPath::root(match self {
            Space::Own => own.clone(),
            Space::Named(name) => name.clone(),
        })
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Destination {
    /// To something anyone may ask for.
    Open(Route),
    /// Below `/api/v1`: credentials first, then this.
    Secured(Result<Resource, Rejection>),
    /// To a web action, which says itself who may ask.
    Web(Target),
}

impl Destination {
    /// The operation that is asked for; `None` if there is no such resource.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Destination::Open(route) => Some(route.operation()),
            Destination::Secured(resource) => resource.as_ref().ok()?.operation(),
            Destination::Web(_) => Some(Operation::Web),
        }
    }
}

impl Route {
    fn operation(&self) -> Operation {
        match self {
            Route::Options { .. } => Operation::Preflight,
            Route::Deployment => Operation::Deployment,
            Route::Ping => Operation::Ping,
            Route::Ready => Operation::Ready,
            Route::Metrics => Operation::Metrics,
            Route::Invokers => Operation::ListInvokers,
            Route::HealthyInvokers => Operation::CountHealthyInvokers,
            Route::InvokersReady => Operation::InvokersReady,
            Route::InFlight => Operation::CountInFlight,
            Route::Api => Operation::Api,
            Route::Docs { api: true, piece: Piece::Document } => Operation::ApiDocument,
            Route::Docs { api: true, piece: Piece::Redirect } => Operation::ApiDocs,
            Route::Docs { api: true, piece: Piece::Page } => Operation::ApiDocsPage,
            Route::Docs { api: false, piece: Piece::Document } => Operation::Document,
            Route::Docs { api: false, piece: Piece::Redirect } => Operation::Docs,
            Route::Docs { api: false, piece: Piece::Page } => Operation::DocsPage,
        }
    }
}

impl Resource {
    fn operation(&self) -> Option<Operation> {
        use Operation as O;
        Some(match self {
            Resource::Namespaces => O::ListNamespaces,
            Resource::Limits(_) => O::ReadLimits,
            Resource::List(_, Collection::Actions) => O::ListActions,
            Resource::List(_, Collection::Packages | Collection::PublicPackages) => O::ListPackages,
            Resource::List(_, Collection::Triggers) => O::ListTriggers,
            Resource::List(_, Collection::Rules) => O::ListRules,
            Resource::PackageList(..) => O::ListPackageActions,
            Resource::Action(Verb::Read, _, None, _) => O::ReadAction,
            Resource::Action(Verb::Put, _, None, _) => O::PutAction,
            Resource::Action(Verb::Delete, _, None, _) => O::DeleteAction,
            Resource::Action(Verb::Activate, _, None, _) => O::InvokeAction,
            Resource::Action(Verb::Read, _, Some(_), _) => O::ReadPackageAction,
            Resource::Action(Verb::Put, _, Some(_), _) => O::PutPackageAction,
            Resource::Action(Verb::Delete, _, Some(_), _) => O::DeletePackageAction,
            Resource::Action(Verb::Activate, _, Some(_), _) => O::InvokePackageAction,
            Resource::Package(Verb::Read, ..) => O::ReadPackage,
            Resource::Package(Verb::Put, ..) => O::PutPackage,
            Resource::Package(Verb::Delete, ..) => O::DeletePackage,
            Resource::Package(Verb::Activate, ..) => return None,
            Resource::Trigger(Verb::Read, ..) => O::ReadTrigger,
            Resource::Trigger(Verb::Put, ..) => O::PutTrigger,
            Resource::Trigger(Verb::Delete, ..) => O::DeleteTrigger,
            Resource::Trigger(Verb::Activate, ..) => O::FireTrigger,
            Resource::Rule(Verb::Read, ..) => O::ReadRule,
            Resource::Rule(Verb::Put, ..) => O::PutRule,
            Resource::Rule(Verb::Delete, ..) => O::DeleteRule,
            Resource::Rule(Verb::Activate, ..) => O::SwitchRule,
            Resource::Activations(_) => O::ListActivations,
            Resource::Activation(_, _, Part::Record) => O::ReadActivation,
            Resource::Activation(_, _, Part::Logs) => O::ReadLogs,
            Resource::Activation(_, _, Part::Result) => O::ReadResult,
        })
    }
}

/// Finds the route of a request.
pub fn route(method: &Method, path: &str) -> Result<Destination, Rejection> {
    let path = without_dots(path);
    let below = path.strip_prefix("/api/v1").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(target) = below.and_then(Target::parse) {
        let served = web::METHODS.split(", ").any(|served| served == method.as_str());
        return if served { Ok(Destination::Web(target)) } else { Err(Rejection::Method(web::METHODS)) };
    }
    if method == Method::OPTIONS {
        return Ok(Destination::Open(Route::Options { api: below.is_some() }));
    }
    let Some(below) = below else { return top(method, &path).map(Destination::Open) };
    if method == Method::GET {
        if matches!(below, "" | "/") {
            return Ok(Destination::Open(Route::Api));
        }
        if let Some(piece) = docs(below) {
            return Ok(Destination::Open(Route::Docs { api: true, piece }));
        }
    }
    Ok(Destination::Secured(resource(method, below)))
}

/// Paths outside the API.
fn top(method: &Method, path: &str) -> Result<Route, Rejection> {
    let route = match path {
        "/" => Route::Deployment,
        "/ping" => Route::Ping,
        "/ready" => Route::Ready,
        "/metrics" => Route::Metrics,
        "/invokers" => Route::Invokers,
        "/invokers/healthy/count" => Route::HealthyInvokers,
        "/invokers/ready" => Route::InvokersReady,
        "/activation" | "/activation/count" => Route::InFlight,
        other => match docs(other) {
            Some(piece) => Route::Docs { api: false, piece },
            None => return Err(Rejection::Method("OPTIONS")),
        },
    };
    if method == Method::GET { Ok(route) } else { Err(Rejection::Method("GET, OPTIONS")) }
}

/// Paths of the description, of the API or of what is outside it.
fn docs(path: &str) -> Option<Piece> {
    match path {
        "/api-docs" => Some(Piece::Document),
        "/docs" => Some(Piece::Redirect),
        "/docs/index.html" => Some(Piece::Page),
        _ => None,
    }
}

/// Paths below `/api/v1`; `below` is empty or begins with a slash.
fn resource(method: &Method, below: &str) -> Result<Resource, Rejection> {
    let segments: Vec<&str> = below.split('/').skip(1).collect();
    let Some(("namespaces", segments)) = segments.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(Rejection::NoSuchPath);
    };
    match (method, segments) {
        (&Method::GET, [] | [""]) => Ok(Resource::Namespaces),
        (_, [space, collection, rest @ ..]) if !space.is_empty() => in_namespace(method, space, collection, rest),
        _ => Err(Rejection::NoSuchPath),
    }
}

fn in_namespace(method: &Method, space: &str, collection: &str, rest: &[&str]) -> Result<Resource, Rejection> {
    let space = || read_space(space);
    match (collection, rest) {
        ("actions", [] | [""]) if method == Method::GET => Ok(Resource::List(space()?, Collection::Actions)),
        ("actions", [package, ""]) if method == Method::GET => Ok(Resource::PackageList(space()?, name(package)?)),
        ("actions", [action]) if !action.is_empty() => {
            Ok(Resource::Action(verb(method)?, space()?, None, name(action)?))
        }
        ("actions", [package, action]) if !action.is_empty() => {
            Ok(Resource::Action(verb(method)?, space()?, Some(name(package)?), name(action)?))
        }
        ("packages", [] | [""]) if method == Method::GET => Ok(Resource::List(space()?, Collection::Packages)),
        // Nobody invokes a package.
        ("packages", [package]) if !package.is_empty() && method != Method::POST => {
            Ok(Resource::Package(verb(method)?, space()?, name(package)?))
        }
        ("triggers", [] | [""]) if method == Method::GET => Ok(Resource::List(space()?, Collection::Triggers)),
        ("triggers", [trigger]) if !trigger.is_empty() => {
            Ok(Resource::Trigger(verb(method)?, space()?, name(trigger)?))
        }
        ("rules", [] | [""]) if method == Method::GET => Ok(Resource::List(space()?, Collection::Rules)),
        ("rules", [rule]) if !rule.is_empty() => Ok(Resource::Rule(verb(method)?, space()?, name(rule)?)),
        ("activations", [] | [""]) if method == Method::GET => Ok(Resource::Activations(space()?)),
        ("activations", [id, part @ ..]) if method == Method::GET => {
            let part = match part {
                [] | [""] => Part::Record,
                ["logs"] => Part::Logs,
                ["result"] => Part::Result,
                _ => return Err(Rejection::NoSuchPath),
            };
            let id = decode(id)?.parse::<ActivationId>().map_err(|e| Rejection::Invalid(e.to_string()))?;
            Ok(Resource::Activation(space()?, id, part))
        }
        ("limits", [] | [""]) if method == Method::GET => Ok(Resource::Limits(space()?)),
        ("limits", [_, ..]) if method == Method::GET => {
            Err(Rejection::Invalid(whisker_api::messages::LIMITS_ARE_FLAT.into()))
        }
        _ => Err(Rejection::NoSuchPath),
    }
}

fn verb(method: &Method) -> Result<Verb, Rejection> {
    match *method {
        Method::GET => Ok(Verb::Read),
        Method::PUT => Ok(Verb::Put),
        Method::DELETE => Ok(Verb::Delete),
        Method::POST => Ok(Verb::Activate),
        _ => Err(Rejection::NoSuchPath),
    }
}

fn name(segment: &str) -> Result<EntityName, Rejection> {
    EntityName::new(&decode(segment)?).map_err(|e| Rejection::Invalid(e.to_string()))
}

fn read_space(segment: &str) -> Result<Space, Rejection> {
    let text = decode(segment)?;
    if text == "_" {
        return Ok(Space::Own);
    }
    EntityName::new(&text).map(Space::Named).map_err(|error| {
        Rejection::Invalid(match error {
            InvalidName::TooLong(length) => format!("Namespace longer than allowed: {length} > 256."),
            InvalidName::Illegal => "The namespace contains illegal characters.".into(),
        })
    })
}

fn decode(segment: &str) -> Result<String, Rejection> {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| Rejection::Invalid(InvalidName::Illegal.to_string()))
}

/// The path without `.` and `..` (RFC 3986, 5.2.4): some clients resolve them
/// and some leave it to the server.
fn without_dots(path: &str) -> String {
    if !path.split('/').any(|s| matches!(s, "." | "..")) {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secured(method: Method, path: &str) -> Result<Resource, Rejection> {
        match route(&method, path) {
            Ok(Destination::Secured(resource)) => resource,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        let name = |n: &str| EntityName::new(n).expect("a name");
        assert_eq!(
            secured(Method::PUT, "/api/v1/namespaces/_/actions/with%20space"),
            Ok(Resource::Action(Verb::Put, Space::Own, None, name("with space")))
        );
        assert!(matches!(secured(Method::PUT, "/api/v1/namespaces/_/actions/a%2Fb"), Err(Rejection::Invalid(_))));
        assert_eq!(
            secured(Method::GET, "/api/v1/namespaces/guest/actions/p/"),
            Ok(Resource::PackageList(Space::Named(name("guest")), name("p")))
        );
    }

    #[test]
    fn what_is_no_path_is_not_found() {
        for (method, path) in [
            (Method::PUT, "/api/v1/namespaces/_/actions"),
            (Method::PUT, "/api/v1/namespaces/_/actions/p/"),
            (Method::PATCH, "/api/v1/namespaces/_/actions/x"),
            (Method::GET, "/api/v1/namespaces/_/actions/a/b/c"),
            (Method::GET, "/api/v1/namespaces/_/triggers/a/b"),
            (Method::GET, "/api/v1/namespaces/_/rules/a/"),
            (Method::POST, "/api/v1/namespaces/_/packages/p"),
            (Method::PUT, "/api/v1/namespaces/_/packages"),
            (Method::GET, "/api/v1//namespaces"),
            (Method::GET, "/api/v1/namespaces/_//actions"),
            (Method::GET, "/api/v1/namespaces/_"),
            (Method::GET, "/api/v1/namespaces/_/gizmos"),
            (Method::POST, "/api/v1/namespaces/_/limits"),
            (Method::HEAD, "/api/v1/namespaces/_/actions"),
            (Method::GET, "/api/v1/namespaces/_/actions/.."),
            (Method::GET, "/api/v1/docs/"),
            (Method::HEAD, "/api/v1/docs"),
            (Method::POST, "/api/v1/api-docs"),
        ] {
            assert_eq!(secured(method, path), Err(Rejection::NoSuchPath), "{path}");
        }
        assert_eq!(route(&Method::GET, "/api/v2"), Err(Rejection::Method("OPTIONS")));
        for (method, path, allowed) in [
            (Method::HEAD, "/ping", "GET, OPTIONS"),
            (Method::HEAD, "/docs", "GET, OPTIONS"),
            (Method::POST, "/api-docs", "GET, OPTIONS"),
            (Method::GET, "/docs/", "OPTIONS"),
            (Method::GET, "/docs/other.html", "OPTIONS"),
        ] {
            assert_eq!(route(&method, path), Err(Rejection::Method(allowed)), "{method} {path}");
        }
    }

    #[test]
    fn dots_are_resolved() {
        for (path, resolved) in
            [("/a/./b", "/a/b"), ("/a/..", "/"), ("/a/.", "/a/"), ("/../a", "/a"), ("/a.b/..c", "/a.b/..c")]
        {
            assert_eq!(without_dots(path), resolved, "{path}");
        }
    }
}
