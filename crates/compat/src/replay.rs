//! Sends recorded requests and compares the answers.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use whisker_testkit::{Client, Origin, Request as Sent, Response, pause, wait_for_minute};

use crate::{
    compare,
    differences::Differences,
    document::{Auth, Document, Request, Step, Wait},
    placeholder::{Variables, expand, expand_text},
};

/// Longest that a step which is right eventually may take.
const EVENTUALLY: Duration = Duration::from_secs(45);
/// Time between two tries of such a step.
const BETWEEN: Duration = Duration::from_millis(100);

/// Credentials that are well formed and nobody's.
const BAD: &str =
    "00000000-1111-2222-3333-444444444444:nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";

/// What is encoded in queries: all but what RFC 3986 calls unreserved, and `/`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `uuid:key` of the two users that documents speak of.
#[derive(Debug, Clone)]
pub struct Auths {
    /// Of the user `guest`.
    pub guest: String,
    /// Of `whisk.system`.
    pub system: String,
}

/// How many steps went how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// As recorded.
    pub same: usize,
    /// Otherwise on purpose, and exactly as written down.
    pub otherwise: usize,
    /// Otherwise.
    pub failed: usize,
    /// Not sent, since that part of the API is not there yet.
    pub later: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { same, otherwise, failed, later } = self;
        write!(f, "{same} as recorded, {otherwise} otherwise on purpose, {failed} failed, {later} not there yet")
    }
}

/// One replay of one document.
pub struct Replay<'a> {
    document: &'a Document,
    differences: &'a Differences,
    clients: BTreeMap<&'static str, Client>,
    shared: Variables,
    tally: Tally,
    failures: Vec<String>,
}

impl<'a> Replay<'a> {
    /// Of a document, against the server there.
    pub fn new(document: &'a Document, differences: &'a Differences, origin: impl Into<Origin>, auths: &Auths) -> Self {
        let origin = origin.into();
        let client = |auth: Option<&str>| Client::at(&origin, auth);
        let clients = BTreeMap::from([
            ("guest", client(Some(&auths.guest))),
            ("system", client(Some(&auths.system))),
            ("bad", client(Some(BAD))),
            ("none", client(None)),
        ]);
        let shared = Variables::from([("RUN".to_owned(), run())]);
        Self { document, differences, clients, shared, tally: Tally::default(), failures: Vec::new() }
    }

    /// Plays it all; what went wrong, in words.
    pub fn play(mut self) -> (Tally, Vec<String>) {
        let document = self.document;
        let mut shared = std::mem::take(&mut self.shared);
        self.scenario("setup", &document.setup, &mut shared);
        for scenario in &document.scenarios {
            let mut variables = shared.clone();
            self.scenario(&scenario.name, &scenario.steps, &mut variables);
            self.cleanup(&scenario.cleanup, &variables);
        }
        self.cleanup(&document.cleanup, &shared);
        (self.tally, self.failures)
    }

    fn scenario(&mut self, name: &str, steps: &[Step], variables: &mut Variables) {
        let group = &self.document.group;
        for (number, step) in (1..).zip(steps) {
            if self.differences.is_later(group, name, number, &step.request) {
                self.tally.later += 1;
                continue;
            }
            let (expected, entry) = self.differences.expected(group, name, number, step);
            let found = self.step(step, &expected, variables);
            match (found.is_empty(), entry) {
                (true, None) => self.tally.same += 1,
                (true, Some(_)) => self.tally.otherwise += 1,
                (false, _) => {
                    self.tally.failed += 1;
                    let Request { method, path, .. } = &step.request;
                    let lines: String = found.iter().map(|line| format!("\n    {line}")).collect();
                    self.failures.push(format!("{group}: {name}: step {number}: {method} {path}{lines}"));
                }
            }
        }
    }

    fn step(&self, step: &Step, expected: &Value, variables: &mut Variables) -> Vec<String> {
        match &step.wait {
            None => {}
            Some(Wait::Seconds(seconds)) => pause(Duration::from_secs_f64(*seconds)),
            Some(Wait::Minute(_)) => wait_for_minute(),
        }
        let start = Instant::now();
        loop {
            let found = self.exchange(step, expected, variables).unwrap_or_else(|error| vec![error]);
            if found.is_empty() || !step.eventually || start.elapsed() > EVENTUALLY {
                return found;
            }
            pause(BETWEEN);
        }
    }

    fn exchange(&self, step: &Step, expected: &Value, variables: &mut Variables) -> Result<Vec<String>, String> {
        let response = self.send(&step.request, variables)?;
        capture(step, &response, variables);
        let expected = expand(expected, variables).map_err(not_captured)?;
        Ok(compare::answer(&expected, step.matching, &response))
    }

    fn cleanup(&self, requests: &[Request], variables: &Variables) {
        for request in requests {
            // Whatever it answers: the scenario may have failed before.
            let _ = self.send(request, variables);
        }
    }

    fn send(&self, request: &Request, variables: &Variables) -> Result<Response, String> {
        let mut target = expand_text(&request.path, variables).map_err(not_captured)?;
        if let Some(query) = &request.query {
            target += "?";
            target += &encoded(&expand(query, variables).map_err(not_captured)?);
        }
        let mut sent = Sent::new(&request.method, target);
        for (name, value) in &request.headers {
            sent = sent.header(&name.to_ascii_lowercase(), expand_text(value, variables).map_err(not_captured)?);
        }
        if let Some(json) = &request.json {
            if !sent.headers.iter().any(|(name, _)| name == "content-type") {
                sent = sent.header("content-type", "application/json");
            }
            sent = sent.body(expand(json, variables).map_err(not_captured)?.to_string());
        } else if let Some(text) = &request.text {
            sent = sent.body(expand_text(text, variables).map_err(not_captured)?);
        } else if let Some(base64) = &request.base64 {
            sent = sent.body(STANDARD.decode(base64).map_err(|error| error.to_string())?);
        }
        let client = match request.auth {
            Auth::Guest => "guest",
            Auth::System => "system",
            Auth::Bad => "bad",
            Auth::None => "none",
        };
        self.clients[client].try_send(&sent).map_err(|error| format!("no answer: {error}"))
    }
}

fn not_captured(name: String) -> String {
    format!("${{{name}}} was not captured")
}

fn capture(step: &Step, response: &Response, variables: &mut Variables) {
    for (name, place) in &step.capture {
        let value = match place.strip_prefix('@') {
            Some(header) => response.header(header).map(str::to_owned),
            None => serde_json::from_slice::<Value>(response.bytes()).ok().and_then(|body| {
                let found = if place == "/" { Some(&body) } else { body.pointer(place) };
                found.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }),
        };
        match value {
            Some(value) => drop(variables.insert(name.clone(), value)),
            None => drop(variables.remove(name)),
        }
    }
}

/// A query as a client encodes it.
fn encoded(query: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Value::Object(members) = query else { return text(query) };
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let pairs = members.iter().flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| (name, text(value))).collect(),
        one => vec![(name, text(one))],
    });
    pairs.map(|(name, value)| format!("{}={}", encode(name), encode(&value))).collect::<Vec<_>>().join("&")
}

/// Eight letters that no other replay uses.
fn run() -> String {
    const LETTERS: &[u8; 16] = b"ghijkmnpqrstvwxy";
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    (0..8).map(|i| char::from(LETTERS[usize::try_from(seed >> (4 * i) & 15).expect("below 16")])).collect()
}
