//! Containers as sandboxed processes on this host: the embedded backend of
//! the `sandbox` seam.
//!
//! A container is one launcher process (`runtimes/` has them) inside
//! namespaces, cgroups, a seccomp filter and a root of its own, spoken to over
//! four pipes. It takes no daemon, no image and no root; root adds a user for
//! each container and the `nat` network.
//!
//! | who | what |
//! | --- | --- |
//! | `sandbox` | which containers are made; sweeping what a former life left |
//! | `parts`, `spares` | making one; keeping some that were made before anybody asked |
//! | `container`, `keeper` | one container: its runs; its end |
//! | `pipes`, `intake` | how it is spoken to, beside the crate `frame` |
//! | `bwrap`, `seccomp`, `cgroup`, `network`, `numbers` | what confines it |
//! | `spawn` | making the process; all `unsafe` code |
//! | `workshop` | unpacking and compiling the action's code, once |
//! | `catalog`, `host` | the runtimes; the sandbox's own folder |
//! | `unavailable`, `survey` | saying what a host lacks, and what it offers |
//!
//! It refuses to isolate by half: where a part is missing, [`ProcessSandbox`]
//! cannot be made, and says which part and how to get it. Running without is a
//! setting of its own.

mod bwrap;
mod catalog;
mod cgroup;
mod config;
mod container;
mod host;
mod intake;
mod keeper;
mod network;
mod numbers;
mod parts;
mod pipes;
mod sandbox;
mod seccomp;
mod spares;
mod spawn;
mod survey;
mod thread;
mod unavailable;
mod workshop;

pub use catalog::MANIFEST;
pub use cgroup::Lacking;
pub use config::{Config, Nat, Network};
pub use sandbox::ProcessSandbox;
pub use survey::{Program, Runtime, Survey, Tree};
pub use unavailable::Unavailable;
