//! OpenWhisk's nouns, in OpenWhisk's sense, as plain values.
//!
//! Documents keep the shapes in which OpenWhisk stores them in CouchDB, since
//! existing databases hold that format; what crosses another wire (REST bodies,
//! bus messages) has types of its own in `api` and `bus`. There is no IO here,
//! no clock and no random source: ids are made from a time and random bits
//! that the caller brings.

mod action;
mod activation;
mod exec;
mod id;
mod identity;
mod limits;
mod manifest;
mod name;
mod package;
mod parameters;
mod size;
mod trigger;
mod version;

pub use action::Action;
pub use activation::{Activation, Response, Status};
pub use exec::{CodeHash, Exec, ExecCode, is_base64_code};
pub use id::{ActivationId, InvalidActivationId, TransactionId};
pub use identity::{AuthKey, Identity, InvalidAuthKey, Namespace, NamespaceLimits, Subject};
pub use limits::{ActionLimits, Allowance, LimitRange, LimitRanges, Limited, MB, OutOfRange};
pub use manifest::{Image, Manifest, Runtime, StemCells, UnknownKind};
pub use name::{EntityName, EntityPath, InvalidName, QualifiedName};
pub use package::{Binding, Package};
pub use parameters::{Parameter, Parameters};
pub use size::{ByteSize, InvalidSize};
pub use trigger::{Link, Links, Reference, Rule, RuleStatus, Trigger};
pub use version::{InvalidVersion, Version};

/// Milliseconds since the Unix epoch: how OpenWhisk writes every date.
pub type Millis = u64;
