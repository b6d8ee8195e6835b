//! What crosses OpenWhisk's REST API: request bodies read into types, entities
//! shown as clients expect them, and every word that they may match on.
//!
//! There is no HTTP here: a body is bytes, a view is JSON, a message is text.
//! Statuses live in the controller, which knows who asked.
//!
//! Why bodies are read by hand and not derived: OpenWhisk's texts for what is
//! wrong with a body come from several layers of its parser, and people search
//! for them.

mod action;
mod activation;
mod arguments;
mod body;
pub mod messages;
mod package;
mod payload;
mod rule;
pub mod schema;
mod trigger;
mod view;

pub use action::{ActionPut, ActionRules, CODE_MAX_BYTES, LimitsPut};
pub use activation::{ActivationListed, ActivationView, ResponseView};
pub use arguments::Arguments;
pub use body::{BodyError, Fields, parse_json};
pub use package::PackagePut;
pub use payload::{MAX_DEPTH, Payload};
pub use rule::{RulePut, parse_rule_status};
pub use trigger::TriggerPut;
pub use view::{
    action_listed, action_view, package_contents_view, package_listed, package_view, rule_listed, rule_view,
    trigger_listed, trigger_view,
};
