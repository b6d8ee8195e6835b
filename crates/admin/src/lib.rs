//! Administration: users, their keys, and limits of namespaces.
//!
//! The commands are those of OpenWhisk's `wskadmin`, with its words, its
//! outputs and its exit codes, so that scripts go on working. What it reads
//! from CouchDB (`db get`, `syslog get`) is not here: there is none. Of our
//! own is `secrets renew`, for whoever has a new key.
//!
//! A [`Command`] is plain data: it is parsed from a command line and
//! [`perform`]ed on a store. The store belongs to one process at a time, and
//! that is the server while it serves. So the server has a [`Socket`] in its
//! data folder, and the command line [`ask`]s there first: what is changed
//! counts from the next request on, and nobody has to stop serving for it.
//!
//! There is no HTTP here, and no password: who may open the data folder, as
//! its owner or as root, is who administers.

mod answer;
mod command;
mod key;
mod limits;
mod perform;
mod renew;
mod socket;
mod users;

pub use answer::Answer;
pub use command::{Change, Command, Credentials, LimitsCommand, SecretsCommand, SetLimits, UserCommand};
pub use key::{NoRandomNumbers, fresh_key};
pub use perform::{Parts, perform};
pub use socket::{Error, Socket, ask};
