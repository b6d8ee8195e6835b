//! What the API can do: one row for each operation, and the only list of them.
//!
//! [`route`](crate::route) reads paths by hand, for reasons of its own; what it
//! finds belongs to exactly one row here, which a test shows from both sides.
//! The OpenAPI document has one operation for each row, described by the row's
//! own comment, and the authorisation test one expectation: a row that is added
//! compiles in none of these places until it has been thought of there.

use http::{Method, StatusCode};

use crate::{openapi, route::route};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Whoever has a key; what for is the operation's.
    Key,
    /// Whoever the web action says.
    Action,
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident: $($method:ident)|+ $path:literal, $access:ident;)+) => {
        /// An operation of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Operation {
            /// All of them, in the order in which they are described.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)+ }
            }

            /// What it does, in a sentence or some.
            pub fn description(self) -> &'static str {
                match self { $(Operation::$name => concat!($($doc, "\n"),+),)+ }
            }

            /// The methods that it has.
            pub fn methods(self) -> &'static [Method] {
                match self { $(Operation::$name => &[$(Method::$method),+],)+ }
            }

            /// Its path, from the root, with `{names}` in the place of what varies.
            pub fn path(self) -> &'static str {
                match self { $(Operation::$name => $path,)+ }
            }

            /// Who may ask.
            pub fn access(self) -> Access {
                match self { $(Operation::$name => Access::$access,)+ }
            }
        }
    };
}

operations! {
    /// Tells the versions of the API.
    Api: GET "/api/v1", Open;
    /// Shows this document.
    ApiDocument: GET "/api/v1/api-docs", Open;
    /// Leads to the page that shows this document.
    ApiDocs: GET "/api/v1/docs", Open;
    /// Is the page that shows this document.
    ApiDocsPage: GET "/api/v1/docs/index.html", Open;

    /// Lists the namespaces of whoever asks: there is one.
    ListNamespaces: GET "/api/v1/namespaces", Key;
    /// Shows the limits that are in force in a namespace.
    ReadLimits: GET "/api/v1/namespaces/{namespace}/limits", Key;

    /// Lists the actions of a namespace, those in packages too.
    ListActions: GET "/api/v1/namespaces/{namespace}/actions", Key;
    /// Shows an action, with its code.
    ReadAction: GET "/api/v1/namespaces/{namespace}/actions/{action}", Key;
    /// Creates an action, or with `overwrite` updates it: what the body does not
    /// name stays as it is, and annotations are merged.
    PutAction: PUT "/api/v1/namespaces/{namespace}/actions/{action}", Key;
    /// Deletes an action and shows what it was. Rules and sequences that name it stay.
    DeleteAction: DELETE "/api/v1/namespaces/{namespace}/actions/{action}", Key;
    /// Invokes an action.
    ///
    /// The answer names the activation at once, or with `blocking` waits for
    /// its outcome. An action that fails answers 502, with its record.
    InvokeAction: POST "/api/v1/namespaces/{namespace}/actions/{action}", Key;

    /// Lists the actions of a package; of a binding those of the package behind it.
    ListPackageActions: GET "/api/v1/namespaces/{namespace}/actions/{package}/", Key;
    /// Shows an action in a package, with its code, and with the parameters of
    /// package and binding under its own.
    ReadPackageAction: GET "/api/v1/namespaces/{namespace}/actions/{package}/{action}", Key;
    /// Creates or updates an action in a package that is there.
    PutPackageAction: PUT "/api/v1/namespaces/{namespace}/actions/{package}/{action}", Key;
    /// Deletes an action in a package and shows what it was.
    DeletePackageAction: DELETE "/api/v1/namespaces/{namespace}/actions/{package}/{action}", Key;
    /// Invokes an action in a package, of another namespace too if the package is public.
    InvokePackageAction: POST "/api/v1/namespaces/{namespace}/actions/{package}/{action}", Key;

    /// Lists the packages and bindings of a namespace; of another namespace its public packages.
    ListPackages: GET "/api/v1/namespaces/{namespace}/packages", Key;
    /// Shows a package, or a binding, with what is in it.
    ReadPackage: GET "/api/v1/namespaces/{namespace}/packages/{package}", Key;
    /// Creates a package or a binding, or with `overwrite` updates it.
    PutPackage: PUT "/api/v1/namespaces/{namespace}/packages/{package}", Key;
    /// Deletes a package that is empty, or with `force` whatever is in it too,
    /// and shows what it was.
    DeletePackage: DELETE "/api/v1/namespaces/{namespace}/packages/{package}", Key;

    /// Lists the triggers of a namespace.
    ListTriggers: GET "/api/v1/namespaces/{namespace}/triggers", Key;
    /// Shows a trigger and the rules that are joined to it.
    ReadTrigger: GET "/api/v1/namespaces/{namespace}/triggers/{trigger}", Key;
    /// Creates a trigger, or with `overwrite` updates it.
    PutTrigger: PUT "/api/v1/namespaces/{namespace}/triggers/{trigger}", Key;
    /// Deletes a trigger and shows what it was. Its rules stay, inactive.
    DeleteTrigger: DELETE "/api/v1/namespaces/{namespace}/triggers/{trigger}", Key;
    /// Fires a trigger: the actions of its active rules are invoked with the
    /// body over the trigger's parameters.
    FireTrigger: POST "/api/v1/namespaces/{namespace}/triggers/{trigger}", Key;

    /// Lists the rules of a namespace, without their states.
    ListRules: GET "/api/v1/namespaces/{namespace}/rules", Key;
    /// Shows a rule and whether it is active.
    ReadRule: GET "/api/v1/namespaces/{namespace}/rules/{rule}", Key;
    /// Creates a rule, which is active then, or with `overwrite` updates it.
    PutRule: PUT "/api/v1/namespaces/{namespace}/rules/{rule}", Key;
    /// Deletes a rule and shows what it was.
    DeleteRule: DELETE "/api/v1/namespaces/{namespace}/rules/{rule}", Key;
    /// Makes a rule active or inactive.
    SwitchRule: POST "/api/v1/namespaces/{namespace}/rules/{rule}", Key;

    /// Lists the activations of a namespace, newest first.
    ListActivations: GET "/api/v1/namespaces/{namespace}/activations", Key;
    /// Shows the record of an activation.
    ReadActivation: GET "/api/v1/namespaces/{namespace}/activations/{activation}", Key;
    /// Shows the logs of an activation.
    ReadLogs: GET "/api/v1/namespaces/{namespace}/activations/{activation}/logs", Key;
    /// Shows the result of an activation.
    ReadResult: GET "/api/v1/namespaces/{namespace}/activations/{activation}/result", Key;

    /// Calls a web action, which answers as it likes.
    ///
    /// The package of an action that is in none is `default`. An extension to
    /// the action's name (`.json`, `.html`, `.svg`, `.text`, `.http`) says what
    /// becomes of its result, and whatever path follows is told to the action.
    Web: GET | DELETE | POST | PUT | HEAD | OPTIONS | PATCH "/api/v1/web/{namespace}/{package}/{action}", Action;

    /// Describes the deployment: its kinds and limits.
    Deployment: GET "/", Open;
    /// Answers `pong`.
    Ping: GET "/ping", Open;
    /// Tells whether work can be taken, and what is missing if not.
    Ready: GET "/ready", Open;
    /// Shows all metrics, as Prometheus reads them.
    Metrics: GET "/metrics", Open;
    /// Lists the invokers and their states.
    ListInvokers: GET "/invokers", Open;
    /// Counts the invokers that take work.
    CountHealthyInvokers: GET "/invokers/healthy/count", Open;
    /// Tells whether an invoker takes work.
    InvokersReady: GET "/invokers/ready", Open;
    /// Counts the activations under way; also at `/activation`.
    CountInFlight: GET "/activation/count", Open;
    /// Shows this document, of what is outside the API.
    Document: GET "/api-docs", Open;
    /// Leads to the page that shows this document.
    Docs: GET "/docs", Open;
    /// Is the page that shows this document.
    DocsPage: GET "/docs/index.html", Open;

    /// Answers the question of browsers whether a page of another origin may
    /// ask, on any path that is not a web action's.
    Preflight: OPTIONS "*", Open;
}

impl Operation {
    /// Which operation a request is for; `None` if for none that there is.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        route(method, path).ok()?.operation()
    }

    /// The statuses that its answers may have, as its description says;
    /// `None` if any.
    pub fn statuses(self) -> Option<Vec<StatusCode>> {
        match self.access() {
            Access::Action => None,
            Access::Open | Access::Key => Some(openapi::answers::statuses(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web;

    /// A path that a template leads to.
    fn example(operation: Operation) -> String {
        let path = operation.path().replace("{activation}", "00000000000040008000000000000000");
        path.replace('*', "/any/path").replace(['{', '}'], "")
    }

    #[test]
    fn each_operation_is_routed_to_itself_and_to_no_other() {
        for &operation in Operation::ALL {
            for method in operation.methods() {
                let path = example(operation);
                assert_eq!(Operation::of(method, &path), Some(operation), "{method} {path}");
            }
        }
    }

    #[test]
    fn there_is_no_operation_without_a_row() {
        let every =
            [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::HEAD, Method::TRACE];
        for &path in Operation::ALL {
            for method in &every {
                if let Some(found) = Operation::of(method, &example(path)) {
                    assert!(found.methods().contains(method) && found.path() == path.path(), "{method} {path:?}");
                }
            }
        }
    }

    #[test]
    fn credentials_are_asked_for_where_the_table_says_so() {
        use crate::route::Destination;
        for &operation in Operation::ALL {
            let access = match route(&operation.methods()[0], &example(operation)).expect("a route") {
                Destination::Open(_) => Access::Open,
                Destination::Secured(_) => Access::Key,
                Destination::Web(_) => Access::Action,
            };
            assert_eq!(access, operation.access(), "{operation:?}");
        }
    }

    #[test]
    fn web_actions_have_the_methods_that_are_told() {
        let methods: Vec<_> = Operation::Web.methods().iter().map(Method::as_str).collect();
        assert_eq!(methods.join(", "), web::METHODS);
    }
}
