//! Web actions: actions that anyone may call, as pages and HTTP services are.
//!
//! An action whose annotation `web-export` is true answers at
//! `/api/v1/web/NAMESPACE/PACKAGE/ACTION`. It runs in its owner's name and
//! counts against its owner's limits; who called is told to it, if credentials
//! say so. The request becomes its arguments, and its result the response:
//!
//! ```text
//! path ─▶ is it there, exported, open to this caller? ─▶ request ─▶ invoke ─▶ transcode ─▶ cors
//! ```
//!
//! What is not exported does not exist: whoever guesses names learns nothing.
//! Everything but this page is a function of its arguments.

#[cfg(any(test, feature = "fuzzing"))]
pub mod anything;
mod cors;
mod json;
mod media;
mod path;
mod request;
mod response;
mod secure;
mod transcode;

use std::{net::IpAddr, sync::Arc};

use http::{Method, StatusCode, request::Parts};
use hyper::body::Incoming;
use serde_json::Value;
use whisker_api::messages;
use whisker_entity::{Identity, TransactionId};
use whisker_traces::Context;

pub use path::Target;

use crate::{
    body::Kind,
    controller::Controller,
    environment,
    invocation::{self, Caller, Invoked},
    rejection::Rejection,
    reply::{Cors, Reply},
    resolve::{self, Resolved},
};

/// The methods that web actions have, as they are told to who uses another.
pub const METHODS: &str = "GET, DELETE, POST, PUT, HEAD, OPTIONS, PATCH";

/// A request for a web action, by whomever.
pub(crate) struct Visit<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// Its body, not read yet.
    pub body: &'a mut Incoming,
    /// Who is connected.
    pub peer: IpAddr,
    /// Its id.
    pub transaction: &'a TransactionId,
    /// Its place in its trace.
    pub trace: Option<&'a Context>,
}

/// A web action, and in whose name it runs.
struct Exported {
    owner: Arc<Identity>,
    resolved: Resolved,
}

impl Exported {
    /// Whether an annotation is the boolean `true`, and nothing that looks like it.
    fn says(&self, annotation: &str) -> bool {
        self.resolved.action.annotations.get(annotation) == Some(&Value::Bool(true))
    }
}

/// Serves a request for a web action.
pub(crate) async fn serve(controller: &Controller, visit: Visit<'_>, target: &Target) -> Reply {
    let exported = match find(controller, target).await {
        Ok(exported) => exported,
        Err(rejection) => return rejection.into_reply().cors(Cors::Bare),
    };
    // The size comes before everything that is asked of the caller.
    if let Err(rejection) = controller.bodies.check_declared(visit.body, &exported.owner.limits) {
        return rejection.into_reply().cors(Cors::Bare);
    }
    let (head, custom_options) = (visit.head, exported.says("web-custom-options"));
    let preflight = head.method == Method::OPTIONS && !custom_options;
    let reply = if preflight {
        Ok(Reply::empty(StatusCode::OK))
    } else {
        run(controller, visit, target, &exported, custom_options).await
    };
    let reply = match reply {
        Ok(reply) => reply,
        // What is refused unread is refused without a word to other origins.
        Err(rejection @ (Rejection::PartTooLarge(_) | Rejection::Throttled(_) | Rejection::Body(_))) => {
            return rejection.into_reply().cors(Cors::Bare);
        }
        Err(rejection) => rejection.into_reply(),
    };
    if custom_options { reply.cors(Cors::Bare) } else { cors::share(reply, &head.headers) }
}

/// Finds a web action. Whatever is wrong, it is not there.
async fn find(controller: &Controller, target: &Target) -> Result<Exported, Rejection> {
    let hidden = |rejection| match rejection {
        away @ Rejection::Unavailable(_) => away,
        _ => Rejection::Missing,
    };
    let owner = controller.authenticator.owner(&target.action.path.namespace).await.map_err(|e| hidden(e.into()))?;
    let resolved = resolve::resolve_for(controller, &owner, &target.action).await.map_err(hidden)?;
    let exported = Exported { owner, resolved };
    if exported.says("web-export") { Ok(exported) } else { Err(Rejection::Missing) }
}

/// Runs a web action and shows its result.
async fn run(
    controller: &Controller,
    visit: Visit<'_>,
    target: &Target,
    exported: &Exported,
    custom_options: bool,
) -> Result<Reply, Rejection> {
    let Visit { head, body, peer, transaction, trace } = visit;
    let Exported { owner, resolved } = exported;
    let began = environment::now();
    let caller = controller.authenticator.recognise(&head.headers, peer, began).await?;
    // Browsers send no credentials with the OPTIONS that the action wants to answer.
    let asks_options = custom_options && head.method == Method::OPTIONS;
    if !asks_options && !secure::allows(&resolved.action.annotations, &head.headers, caller.as_deref()) {
        return Err(Rejection::Unauthorized);
    }
    invocation::throttle(controller, owner, began)?;
    let payload = {
        let body = controller.bodies.read(&head.headers, body, Kind::Web, &owner.limits).await?;
        let asked = request::Asked {
            method: &head.method,
            headers: &head.headers,
            query: head.uri.query().unwrap_or(""),
            path: &target.rest,
            body: &body.bytes,
            caller: caller.as_ref().map(|caller| &caller.namespace),
        };
        let given = if exported.says("raw-http") {
            asked.raw()
        } else {
            let given = asked.parsed()?;
            resolved.check_final(&given)?;
            given
        };
        asked.arguments(given)
    };
    let caller = Caller {
        who: owner.clone(),
        transaction: transaction.clone(),
        began,
        cause: None,
        of_letter: false,
        trace: trace.cloned(),
    };
    let wait = Some(controller.config.limits.blocking_wait);
    match invocation::invoke(controller, &caller, resolved, payload, wait).await? {
        Invoked::Accepted(id) => Ok(Reply::error(StatusCode::ACCEPTED, messages::WEB_NOT_READY).activation(id)),
        Invoked::Finished(activation) => {
            let reply = transcode::transcode(target.extension, &activation.response);
            Ok(reply.unwrap_or_else(Rejection::into_reply).activation(activation.id))
        }
    }
}
