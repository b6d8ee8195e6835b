//! For tests that see Whisker as its users do: the real binary, started on a
//! free port with an empty data folder, spoken to over real HTTP.
//!
//! - [`Server`] starts it, kills it, starts it again on what it left behind,
//!   and leaves no process behind when a test ends, however it ends.
//! - [`Client`] speaks HTTP/1.1 over kept connections, with OpenWhisk's paths
//!   and credentials. It is a client of its own, so that no mistake of ours can
//!   hide in a library that both sides share; [`Wire`] sends what no client would.
//! - [`CouchDb`] is a database for it, of CouchDB's protocol.
//! - [`Postgres`] is a real database server, which can be stopped and frozen.
//! - [`Kafka`] is a real cluster of brokers, which can be killed and frozen.
//! - [`Nginx`] is a real one with the configuration of `deploy/nginx`, and
//!   [`Certificate`] one for it, or for the server, that nobody else believes.
//! - [`Cluster`] is all of it at once: controllers and invokers on a real Kafka.
//! - [`eventually`] waits for a state and, when it does not come, tells what it
//!   saw last. Nothing here waits for a while and hopes.
//! - [`Docker`] starts a daemon for those who test with one, and makes images.
//! - [`alone`] gives a test a process of its own, whose [`Memory`] it measures.
//!
//! All of it blocks, so that tests read from top to bottom; load is threads.
//! Whatever goes wrong panics, with words: this is no library for a product.

mod alone;
mod archive;
mod child;
mod client;
mod cluster;
mod cosmos;
mod couchdb;
mod docker;
mod eventually;
mod failure;
mod invoke;
mod kafka;
mod nginx;
mod origin;
mod postgres;
mod server;
mod tls;
mod wire;

pub use alone::{Memory, alone};
pub use archive::{Archive, base64, bomb, escapes};
pub use client::{Client, Request, Response};
pub use cluster::{Cluster, TENANT};
pub use cosmos::Cosmos;
pub use couchdb::CouchDb;
pub use docker::{Docker, has_parts_of};
pub use eventually::{eventually, pause, wait_for_minute, wall, within_a_minute};
pub use invoke::{binary, source};
pub use kafka::{Kafka, ZooKeeper};
pub use nginx::Nginx;
pub use origin::Origin;
pub use postgres::Postgres;
pub use server::{Builder, Server, Stopped, binary_path};
pub use tls::Certificate;
pub use wire::{Answer, Wire};

/// `uuid:key` of the user `guest`, as OpenWhisk's standalone server has it.
pub const GUEST: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// `uuid:key` of `whisk.system`.
pub const SYSTEM: &str =
    "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
