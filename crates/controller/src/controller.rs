//! One request: found its route, known who asks, done, answered.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use whisker_bus::Letters;
use whisker_dispatch::Dispatch;
use whisker_entity::{EntityName, EntityPath, Identity, Millis, Parameters, TransactionId};
use whisker_secrets::Secrets;
use whisker_store::{Activations, Change, Entities, Subjects};
use whisker_traces::{Context, Span, TRACEPARENT, TRACESTATE};

use crate::{
    accept, actions, activations,
    authenticate::Authenticator,
    body::{Bodies, Kind, Read},
    config::Config,
    docs::Docs,
    documents::Documents,
    environment,
    info::{self, Platform},
    invocation::Caller,
    list, namespaces, packages,
    query::Query,
    records::Records,
    rejection::Rejection,
    reply::{Cors, REQUEST_ID, Reply},
    route::{Destination, Resource, Route, Space, route},
    rules,
    throttle::Rates,
    triggers,
    web::{self, Visit},
};

/// The REST API.
pub struct Controller {
    pub(crate) config: Config,
    pub(crate) documents: Documents,
    pub(crate) activations: Arc<dyn Activations>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) platform: Arc<dyn Platform>,
    secrets: Arc<Secrets>,
    pub(crate) invocations: Rates<EntityName>,
    pub(crate) fires: Rates<EntityName>,
    pub(crate) bodies: Bodies,
    docs: Docs,
    pub(crate) records: Arc<Records>,
    /// Places for sequences and compositions under way.
    pub(crate) compositions: Arc<Semaphore>,
    me: Weak<Self>,
    pub(crate) authenticator: Authenticator,
}

/// What a controller works with.
pub struct Parts {
    /// Actions and the like.
    pub entities: Arc<dyn Entities>,
    /// Records.
    pub activations: Arc<dyn Activations>,
    /// Who may ask.
    pub subjects: Arc<dyn Subjects>,
    /// The way to the invokers.
    pub dispatch: Dispatch,
    /// The way of the controller's own records to the store.
    pub records: Arc<Records>,
    /// What parameters are locked with.
    pub secrets: Arc<Secrets>,
    /// What else the process knows.
    pub platform: Arc<dyn Platform>,
}

/// A request by somebody, while it is served.
pub(crate) struct Call<'a> {
    /// Who asks.
    pub who: Arc<Identity>,
    /// When the request began.
    pub began: Millis,
    /// Its id.
    pub transaction: &'a TransactionId,
    /// What is behind `?`.
    pub query: Query<'a>,
    /// Its place in its trace.
    pub trace: Option<&'a Context>,
    headers: &'a HeaderMap,
    body: &'a mut Incoming,
}

impl<'a> Call<'a> {
    /// On whose behalf this invokes something.
    pub fn caller(&self) -> Caller {
        Caller {
            who: self.who.clone(),
            transaction: self.transaction.clone(),
            began: self.began,
            cause: None,
            of_letter: false,
            trace: self.trace.cloned(),
        }
    }

    /// The request's headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The body, as JSON text.
    pub async fn read<'c>(self, controller: &'c Controller, kind: Kind) -> Result<Read<'c>, Rejection> {
        controller.bodies.read(self.headers, self.body, kind, &self.who.limits).await
    }

    /// The namespace that a path names, if it is the caller's own.
    pub fn own(&self, space: &Space) -> Result<EntityPath, Rejection> {
        let path = space.resolve(&self.who.namespace);
        if path.namespace == self.who.namespace {
            Ok(path)
        } else {
            Err(Rejection::Forbidden(whisker_api::messages::not_authorized(path)))
        }
    }
}

impl Controller {
    /// Starts nothing: requests come through [`handle`](Self::handle).
    pub fn new(config: Config, parts: Parts) -> Arc<Self> {
        let dispatch = Arc::new(parts.dispatch);
        Arc::new_cyclic(|me| Self {
            documents: Documents::new(parts.entities, dispatch.clone()),
            activations: parts.activations,
            dispatch,
            platform: parts.platform,
            secrets: parts.secrets,
            invocations: Rates::default(),
            fires: Rates::default(),
            bodies: Bodies::new(&config.limits),
            docs: Docs::new(&config),
            records: parts.records,
            compositions: Arc::new(Semaphore::new(config.limits.compositions)),
            me: me.clone(),
            authenticator: Authenticator::new(parts.subjects, config.limits.failed_authentications_per_minute),
            config,
        })
    }

    /// For tasks that outlive a request.
    pub(crate) fn shared(&self) -> Result<Arc<Self>, Rejection> {
        self.me.upgrade().ok_or(Rejection::Unavailable(whisker_api::messages::UNAVAILABLE))
    }

    /// Parameters as they are stored.
    pub(crate) fn locked(&self, parameters: Parameters) -> Result<Parameters, Rejection> {
        self.secrets.lock(parameters).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "parameters could not be encrypted");
            Rejection::Internal(whisker_api::messages::INTERNAL)
        })
    }

    /// Forgets who may ask and within which limits, after these were changed:
    /// the next request sees what is stored.
    pub fn forget_identities(&self) {
        self.authenticator.forget();
    }

    /// Forgets all that it has read, after much of it was changed.
    pub fn forget_all(&self) {
        self.documents.hear(&Change::Anything);
        self.authenticator.forget();
    }

    /// Forgets what other servers on the same store change, for as long as this
    /// is waited for.
    pub async fn hear_changes(&self) {
        let mut documents = self.documents.entities().changes();
        let mut identities = self.authenticator.changes();
        loop {
            tokio::select! {
                change = documents.next() => self.documents.hear(&change),
                _ = identities.next() => self.authenticator.forget(),
            }
        }
    }

    /// Fires the triggers that hear of activations that failed for good, until
    /// cancelled: what is left waits on the bus.
    pub async fn post_letters(self: Arc<Self>, letters: Arc<dyn Letters>, cancel: CancellationToken) {
        triggers::letter::post(self, letters, cancel).await;
    }

    /// Waits until sequences and compositions have ended and the controller's
    /// records are written, once no more requests come.
    pub async fn close(&self) {
        self.records.close().await;
    }

    /// Answers one request. `peer` is who is connected.
    pub async fn handle(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let (head, mut body) = request.into_parts();
        let given = head.headers.get(REQUEST_ID).and_then(|v| v.to_str().ok()).and_then(TransactionId::from_client);
        let transaction = given.unwrap_or_else(environment::transaction_id);
        let mut span = self.span(&head, &transaction);
        let trace = span.as_ref().map(Span::context);
        let reply = self.reply(&head, &mut body, peer, &transaction, trace).await.unwrap_or_else(Rejection::into_reply);
        self.bodies.discard(&head.headers, &mut body).await;
        let reply = accept::negotiated(&head.headers, reply);
        let status = reply.status();
        metrics::histogram!("controller_http_seconds", "method" => method_label(&head.method), "status" => status_label(status))
            .record(began.elapsed());
        tracing::debug!(
            transaction.id = transaction.as_str(),
            method = head.method.as_str(),
            path = head.uri.path(),
            status = status.as_u16(),
            duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request answered"
        );
        if let Some(span) = &mut span {
            span.say("http.response.status_code", status.as_str());
            if status.is_server_error() {
                span.fail();
            }
        }
        let mut response = reply.finish(&transaction, head.method == Method::HEAD);
        // With chunks there may have been a length as well, which the HTTP
        // library has dropped: whoever stands between us and the client may
        // have gone by that one. So nothing that follows on this connection is
        // taken for a request (RFC 9112, 6.1).
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The span of a request of the API, where traces are on. Neither query nor
    /// headers are in it: both hold tokens and keys.
    fn span(&self, head: &http::request::Parts, transaction: &TransactionId) -> Option<Span> {
        let tracer = &self.config.tracer;
        if !tracer.is_on() || !head.uri.path().starts_with("/api/") {
            return None;
        }
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(TRACEPARENT).and_then(|parent| Context::read(parent, text(TRACESTATE)));
        let mut span = tracer.begin(method_label(&head.method), whisker_traces::Kind::Server, parent.as_ref())?;
        span.say("url.path", head.uri.path());
        span.say("transaction.id", transaction.as_str());
        Some(span)
    }

    async fn reply(
        &self,
        head: &http::request::Parts,
        body: &mut Incoming,
        peer: IpAddr,
        transaction: &TransactionId,
        trace: Option<&Context>,
    ) -> Result<Reply, Rejection> {
        let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let header_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if target_bytes > MAX_TARGET_BYTES || header_bytes > MAX_HEADER_BYTES {
            return Err(Rejection::HeadersTooLarge);
        }
        let resource = match route(&head.method, head.uri.path())? {
            Destination::Open(open) => return self.open(open).await,
            Destination::Web(target) => {
                let visit = Visit { head, body, peer, transaction, trace };
                return Ok(web::serve(self, visit, &target).await);
            }
            Destination::Secured(resource) => resource,
        };
        let began = environment::now();
        let who = self.authenticator.authenticate(&head.headers, peer, began).await?;
        let query = Query::new(head.uri.query());
        let call = Call { who, began, transaction, query, trace, headers: &head.headers, body };
        match resource? {
            Resource::Namespaces => namespaces::list(&call),
            Resource::Limits(space) => namespaces::limits(self, &call, &space),
            Resource::List(space, collection) => list::serve(self, &call, &space, collection).await,
            Resource::PackageList(space, package) => actions::list_package(self, &call, &space, package).await,
            Resource::Action(verb, space, package, name) => {
                actions::serve(self, call, verb, &space, package, name).await
            }
            Resource::Package(verb, space, name) => packages::serve(self, call, verb, &space, name).await,
            Resource::Trigger(verb, space, name) => triggers::serve(self, call, verb, &space, name).await,
            Resource::Rule(verb, space, name) => rules::serve(self, call, verb, &space, name).await,
            Resource::Activations(space) => activations::list(self, &call, &space).await,
            Resource::Activation(space, id, part) => activations::get(self, &call, &space, id, part).await,
        }
    }

    async fn open(&self, route: Route) -> Result<Reply, Rejection> {
        match route {
            Route::Options { api } => Ok(Reply::words(StatusCode::OK).cors(if api { Cors::Rest } else { Cors::Top })),
            Route::Ping => Ok(Reply::text(StatusCode::OK, "pong").cors(Cors::Bare)),
            Route::Deployment => Ok(info::deployment(&self.config)),
            Route::Api => Ok(info::api(&self.config)),
            Route::Docs { api, piece } => Ok(self.docs.serve(api, piece)),
            Route::Ready => Ok(info::ready(self).await),
            Route::Metrics => Ok(info::metrics(self)),
            Route::Invokers => Ok(info::invokers(self)),
            Route::HealthyInvokers => Ok(info::healthy_invokers(self)),
            Route::InvokersReady => Ok(info::invokers_ready(self)),
            Route::InFlight => Ok(info::in_flight(self)),
        }
    }
}

/// Longest path and query, as OpenWhisk's server takes them.
const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Most that the names and values of headers take.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Labels are few and fixed, whatever clients send.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn status_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
