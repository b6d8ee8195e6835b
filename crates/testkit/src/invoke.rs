//! What tests do most: create an action, invoke it, read its record.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Client, Response, eventually};

/// Longest that a record may take to appear after its activation ended.
const RECORDED: Duration = Duration::from_secs(30);

/// The body that creates an action from source text.
pub fn source(kind: &str, code: &str) -> Value {
    json!({"exec": {"kind": kind, "code": code}})
}

/// The body that creates an action from an archive or executable in base64.
pub fn binary(kind: &str, code: &str) -> Value {
    json!({"exec": {"kind": kind, "code": code, "binary": true}})
}

impl Client {
    /// Creates an action, or gives it this body.
    #[track_caller]
    pub fn action(&self, name: &str, body: &Value) -> Value {
        self.put(&format!("actions/{name}?overwrite=true"), body).expect(200)
    }

    /// Creates a Node.js action from source.
    #[track_caller]
    pub fn node(&self, name: &str, code: &str) -> Value {
        self.action(name, &source("nodejs:20", code))
    }

    /// Creates a Python action from source.
    #[track_caller]
    pub fn python(&self, name: &str, code: &str) -> Value {
        self.action(name, &source("python:3.11", code))
    }

    /// Invokes and waits for the activation, whatever becomes of it.
    #[track_caller]
    pub fn invoke(&self, name: &str, arguments: &Value) -> Response {
        self.post(&format!("actions/{name}?blocking=true"), arguments)
    }

    /// Invokes and answers the result of a run that succeeds.
    #[track_caller]
    pub fn result(&self, name: &str, arguments: &Value) -> Value {
        self.post(&format!("actions/{name}?blocking=true&result=true"), arguments).expect(200)
    }

    /// Invokes without waiting; the activation's id.
    #[track_caller]
    pub fn accept(&self, name: &str, arguments: &Value) -> String {
        activation_id(&self.post(&format!("actions/{name}"), arguments).expect(202))
    }

    /// The record of an activation, once it is there.
    #[track_caller]
    pub fn record(&self, id: &str) -> Value {
        self.record_within(RECORDED, id)
    }

    /// The record of an activation that may take so long.
    #[track_caller]
    pub fn record_within(&self, within: Duration, id: &str) -> Value {
        eventually(within, || {
            let response = self.get(&format!("activations/{id}"));
            match response.status() {
                200 => Ok(response.json()),
                status => Err(format!("{status} {}", response.text())),
            }
        })
    }

    /// Invokes, waits, and answers the stored record, logs included.
    #[track_caller]
    pub fn run(&self, name: &str, arguments: &Value) -> Value {
        self.record(&activation_id(&self.invoke(name, arguments).json()))
    }
}

#[track_caller]
fn activation_id(body: &Value) -> String {
    body["activationId"].as_str().unwrap_or_else(|| panic!("no activation id in {body}")).to_owned()
}
