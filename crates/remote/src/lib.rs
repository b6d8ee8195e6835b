//! HTTP to a database server: bounded connections, TLS, and a difference
//! between slow and away.
//!
//! A view that has to be brought up to date may take a minute, and a server
//! that has died takes as long. So whoever waits asks, after a while, whether
//! anybody is there at all; without an answer the request is given up. Callers
//! hear of a dead server within the patience that is set, and slow work is
//! waited for all the same.
//!
//! What is asked, and what an answer means, is each store's own: a status is
//! never a failure here.

mod remote;
mod tls;
mod trouble;

pub use remote::{Asked, Config, PATIENCE, Remote, patience};
pub use tls::TlsError;
pub use trouble::Trouble;
