//! A client of the REST API.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    Origin,
    wire::{Answer, Wire},
};

/// Speaks for one user. Clones share their kept connections; any number of
/// threads may use it at once.
#[derive(Clone)]
pub struct Client {
    origin: Origin,
    authorization: Option<String>,
    kept: Arc<Mutex<Vec<Wire>>>,
}

/// What is asked. Built up, then given to [`Client::send`].
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, sent as they are.
    pub target: String,
    /// Headers, besides `authorization` and the length, and `host` if it is another.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// Without body.
    pub fn new(method: &str, target: impl Into<String>) -> Request {
        Request { method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Request {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With a body of no declared type.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }
}

/// An answer, and what it answers.
pub struct Response {
    question: String,
    answer: Answer,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.answer.headers
    }

    /// The body's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.answer.body
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.answer.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.answer.body) {
            Ok(json) => json,
            Err(error) => {
                panic!("{}: {} with a body that is no JSON ({error}): {}", self.question, self.status(), self.text())
            }
        }
    }

    /// The body as JSON, of an answer with this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}: {}", self.question, self.text());
        self.json()
    }

    /// The words of an answer that refuses with this status, in OpenWhisk's
    /// form: `error` is a text, `code` the transaction's id.
    #[track_caller]
    pub fn refusal(&self, status: u16) -> String {
        let body = self.expect(status);
        let words = body["error"].as_str().unwrap_or_else(|| panic!("{}: no error text in {body}", self.question));
        assert!(body["code"].is_string(), "{}: no code in {body}", self.question);
        assert_eq!(body["code"].as_str(), self.header("x-request-id"), "{}: {body}", self.question);
        words.to_owned()
    }
}

impl Client {
    /// A client for `uuid:key`, or for nobody.
    pub fn new(address: SocketAddr, auth: Option<&str>) -> Client {
        Client::at(address, auth)
    }

    /// The same, of a server that may speak TLS.
    pub fn at(origin: impl Into<Origin>, auth: Option<&str>) -> Client {
        let authorization = auth.map(|auth| format!("Basic {}", STANDARD.encode(auth)));
        Client { origin: origin.into(), authorization, kept: Arc::default() }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// GET. A path without slash at its start is below the user's own namespace.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", self.target(path)))
    }

    /// PUT of JSON.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Response {
        self.send(&Request::new("PUT", self.target(path)).json(body))
    }

    /// POST of JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.send(&Request::new("POST", self.target(path)).json(body))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.send(&Request::new("DELETE", self.target(path)))
    }

    /// Any request; fails the test if no answer comes.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        match self.try_send(request) {
            Ok(response) => response,
            Err(error) => panic!("{} {}: no answer: {error}", request.method, request.target),
        }
    }

    /// Any request, to a server that may be gone. Never sent twice: who asked
    /// cannot know whether a request without answer was done.
    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        let mut wire = self.connection()?;
        wire.send(&self.bytes(request))?;
        let answer = wire.answer(request.method == "HEAD")?;
        if answer.keeps_alive() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(wire);
        }
        Ok(Response { question: format!("{} {}", request.method, request.target), answer })
    }

    /// The full path of one below the user's namespace.
    pub fn target(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/namespaces/_/{path}") }
    }

    fn connection(&self) -> io::Result<Wire> {
        loop {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                Some(mut wire) => {
                    if !wire.is_stale() {
                        return Ok(wire);
                    }
                }
                None => return Wire::open(&self.origin),
            }
        }
    }

    fn bytes(&self, request: &Request) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        let own = |name: &str| request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !own("host") {
            head += &format!("host: {}\r\n", self.origin.host());
        }
        if let Some(authorization) = self.authorization.as_ref().filter(|_| !own("authorization")) {
            head += &format!("authorization: {authorization}\r\n");
        }
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let expects_body = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
        if (request.body.is_some() || expects_body) && !own("transfer-encoding") && !own("content-length") {
            head += &format!("content-length: {}\r\n", request.body.as_ref().map_or(0, Vec::len));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(request.body.as_deref().unwrap_or_default());
        bytes
    }
}
