//! The store in a PostgreSQL database: for teams that have one, and for
//! several servers on one store.
//!
//! # How it works
//!
//! - **Documents are texts**, as OpenWhisk writes them, beside the few columns
//!   that are searched. They are not `jsonb`, which drops what JSON may say and
//!   a database cannot (`\u0000`, numbers beyond its own, the order of members).
//! - **A batch of records is one statement**, whose columns are arrays. A table
//!   of all ids keeps the first record under each; the records themselves are
//!   partitioned by the day on which they started, so that retention drops a
//!   table of a million records instead of deleting each.
//! - **Code once**, under its hash. Those who attach and those who take away the
//!   last user of some code meet at a lock of that hash.
//! - **Servers tell each other** what they wrote (`NOTIFY`, in the transaction
//!   of the write), since each of them keeps what it read.
//! - **A pulse** is felt on a connection of its own, four times a second. A read
//!   that takes long is given up as soon as that stops: within a second of the
//!   database's going away nobody waits any more, while a long list from a
//!   busy database may take its time.
//!
//! # What it promises
//!
//! - A write that answered is as durable as the database makes its commits
//!   (`synchronous_commit`).
//! - A write that answered [`Error::Unavailable`](whisker_store::Error) was not
//!   made, unless the text says that no answer came: then it is unknown.
//! - Any number of servers may open the same database at once; the first brings
//!   its tables to the present, the others wait. Tables of a newer version are
//!   refused.
//! - Neither a password nor a document is ever in a log or in a failure's text.
//!
//! # What it is not
//!
//! Not for a pooler that hands out connections by the transaction (PgBouncer's
//! `transaction` mode): statements are prepared and changes listened for. A
//! count of records walks an index, some 100 ms a million; a list's `skip` walks
//! what it leaves out.

mod activations;
mod changes;
mod config;
mod entities;
mod error;
mod id;
mod lease;
mod partitions;
mod postgres;
mod pulse;
mod retention;
mod scan;
mod schema;
mod subjects;
mod tls;

pub use config::{Config, InvalidUrl};
pub use error::OpenError;
pub use postgres::Postgres;
