//! Why a request got no answer.

use std::time::Duration;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A request that got no answer from a server, which each names. No text here
/// holds a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing answers there.
    #[error("{0} does not answer")]
    Away(&'static str, #[source] Option<Cause>),
    /// It answers others, but not this in time.
    #[error("{0} did not answer within {1:?}; a write may have been made or not")]
    Slow(&'static str, Duration),
    /// All connections, so many, were taken for too long.
    #[error("all {1} connections to {0} are taken")]
    Busy(&'static str, usize),
    /// It cannot be asked so: what is asked makes no request.
    #[error("{0} cannot be asked this")]
    Unaskable(&'static str, #[source] http::Error),
    /// The answer is longer than what is read, in bytes.
    #[error("{0}'s answer has more than {1} bytes")]
    TooLarge(&'static str, u64),
}
