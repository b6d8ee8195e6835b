//! How many files and sockets this process may have open.
//!
//! A container takes half a dozen of them and a connection one, and shells and service
//! managers start programs with 1,024: enough for any program that looks at sockets
//! by `select`, which this one does not. What the system allows is taken instead.
//! Containers have a limit of their own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer a server is told to be short of them: some hundred containers and as
/// many clients.
const FEW: u64 = 4096;

/// Takes all that the system allows.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    if current == maximum {
        return warn_of(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => warn_of(maximum),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            warn_of(current);
        }
    }
}

fn warn_of(limit: Option<u64>) {
    if let Some(limit) = limit.filter(|limit| *limit < FEW) {
        tracing::warn!(
            limit,
            "few files may be open, of which a container takes six and a connection one: raise `ulimit -Hn`, \
             or LimitNOFILE= in a systemd unit"
        );
    }
}
