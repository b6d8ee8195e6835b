//! Discovery through Consul: an alternative to the pings on the bus, for those
//! whose machines are all in Consul anyway.
//!
//! A process *registers* a service with the agent beside it, under a check
//! that lapses when it is not renewed, and *deregisters* when it stops. What
//! an invoker would say in a ping goes along as metadata. A controller
//! *watches* the service of all invokers by blocking queries, and makes pings
//! of what it reads: one each second of each that passes, one that says
//! "disabled" of each that does not or is gone. So the state machine of
//! `placement` hears the same either way, and a Consul that is away for a
//! moment is like pings that are late.
//!
//! It chooses nobody and knows no state of its own but what Consul last said.
//! One that does not answer for longer than [`Config::stale`] says nothing any
//! more, and the invokers are held to be offline; with pings on the bus that
//! would be Kafka.

mod client;
mod config;
mod members;
mod register;
mod watch;

pub use client::Error;
pub use config::{Address, Config, InvalidAddress};
pub use members::{Member, Members};
pub use register::{Registration, Service};
pub use watch::Watch;

/// The service that controllers are.
pub const CONTROLLERS: &str = "whisker-controller";
/// The service that invokers are.
pub const INVOKERS: &str = "whisker-invoker";
