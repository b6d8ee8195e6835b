//! The bus of controllers and invokers on several machines: Apache Kafka, in
//! OpenWhisk's topics and messages.
//!
//! | topic | carries | read by |
//! | --- | --- | --- |
//! | `invoker<N>` | activations | that invoker; another in its stead when it is offline |
//! | `completed<controller>` | outcomes | that controller |
//! | `health`, `controllers` | signs of life, one a second each | everybody |
//! | `cacheInvalidation` | what has changed | every controller |
//! | `claims` | who runs what (ours) | every invoker |
//! | `retries` | failed runs that are followed by another (ours) | any invoker |
//! | `letters` | dead letters (ours) | any controller |
//! | `events` | user events, where they are on | whoever wants them |
//! | of your naming | a namespace's or an action's activations | any invoker |
//!
//! # What is promised, and how
//!
//! *Accepted* is durable on every broker with a copy (`acks=all`, a producer
//! that writes once and in order). It is forgotten, that is committed, when all
//! records up to it are safe ([`offsets`]). In between it is read again after
//! any crash, by its invoker or by [another](members) in its stead.
//!
//! Nothing runs twice for that. What nobody waits for is [claimed](claims)
//! before it runs, in a topic that everybody reads, and the first claim wins.
//! What a client waits for runs where it is read first, with nothing written
//! before, since that would be a third hop; that it [may have been read](reads)
//! is written ahead. What comes again and may have begun is said to have.
//!
//! # Where it stops
//!
//! Kafka keeps what was sent, so a blocking call whose invoker died is recorded
//! as interrupted, up to [`reads`]' bound also if it was never begun. A message
//! that was refused since the cluster did not answer in time may be there: it is
//! withdrawn by a claim, once the cluster answers, and runs only if an invoker
//! is quicker. Two lives that both think they are the only one, in two halves of
//! a network, both run only what they can claim, that is in the half with Kafka.
//!
//! Decisions are in [`inbox`], which asks [`claims`], [`members`] and [`offsets`],
//! and in [`reads`], as values without IO; what has threads asks them.

mod claimed;
pub mod claims;
mod client;
mod config;
mod controller;
mod envelope;
mod error;
mod events;
mod flow;
mod group;
pub mod inbox;
mod invoker;
mod letters;
mod listener;
pub mod members;
mod meters;
pub mod offsets;
mod producer;
mod reader;
pub mod reads;
mod rescue;
mod shared;
mod topics;

pub use config::{Clock, Config, Mechanism, Security, Tls, Topics, User};
pub use controller::KafkaController;
pub use error::Error;
pub use invoker::KafkaInvoker;
pub use topics::Topic;
