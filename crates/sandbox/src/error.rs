//! What can fail that is not the user's code.

/// Failures of the platform, never of user code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest has no such runtime, or this host lacks its interpreter.
    #[error("runtime {kind} cannot run on this host: {reason}")]
    Unavailable {
        /// The runtime kind asked for.
        kind: String,
        /// What is missing.
        reason: String,
    },
    /// The image that the user named cannot be had, or cannot be started: their
    /// mistake, and trying again is in vain.
    #[error("{0}")]
    Image(ImageFault),
    /// The container is gone; the run did not start and may go elsewhere.
    #[error("the container is gone")]
    Gone,
    /// The host refused something (processes, cgroups, mounts, memory).
    #[error("cannot {what}")]
    Host {
        /// What was tried, as a verb phrase.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What is wrong with a user's image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageFault {
    /// It could not be pulled.
    #[error("the image {0} could not be pulled")]
    NotPulled(String),
    /// It names a program that it does not have.
    #[error("the image {0} has no such program as it starts with")]
    NoCommand(String),
    /// It names no program at all.
    #[error("the image {0} names no program to start with")]
    Nothing(String),
}

impl Error {
    /// An [`Error::Host`] that says what was being tried.
    pub fn host(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Host { what, source }
    }
}
