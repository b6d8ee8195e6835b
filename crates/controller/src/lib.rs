//! OpenWhisk's REST API: who asks, what is asked, may they, do it, show it.
//!
//! A request is routed (`route` is the API on one page), its sender
//! authenticated, and one handler serves it. Handlers know the store, the way
//! to the invokers and nothing else: which store, which bus, where TLS ends
//! is decided by whoever builds a [`Controller`]. What a body means and how an
//! entity looks is the `api` crate's; which status a refusal has stands in
//! `rejection` alone.
//!
//! There is no listening socket here: the `server` crate brings connections.

mod accept;
mod actions;
mod activations;
mod authenticate;
mod body;
mod compose;
mod config;
mod controller;
mod docs;
mod documents;
mod entitle;
mod environment;
mod found;
mod info;
mod invocation;
mod list;
mod namespaces;
mod openapi;
mod operation;
mod others;
mod packages;
mod query;
mod records;
mod rejection;
mod reply;
mod resolve;
mod room;
mod route;
mod rules;
mod throttle;
mod triggers;
mod web;

pub use config::{Config, Limits};
pub use controller::{Controller, Parts};
pub use info::Platform;
pub use operation::{Access, Operation};
pub use others::{CannotTest, Tests};

pub use records::Records;
#[cfg(feature = "fuzzing")]
pub use web::anything::{request as fuzz_web_request, result as fuzz_web_result};
