//! The bus on a real Kafka. The tests of this program share one, each with
//! topics of its own; those that stop brokers start their own.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "figures, and what a child tells its parent")]

mod claims;
mod common;
mod crashes;
mod events;
#[path = "../../src/group.rs"]
mod group;
mod groups;
mod messages;
mod outage;
mod sequels;
