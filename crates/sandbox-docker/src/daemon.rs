//! Calls to the daemon: so many at once, and each with its time limit.
//!
//! A daemon that gets more work at once than it has processors does each piece
//! later, and none sooner. Streams that last as long as a container (its output,
//! its death) are no calls, and not counted.

use std::time::Duration;

use bollard::{BollardRequest, Docker, errors::Error as Bollard};
use http::{HeaderName, HeaderValue};
use tokio::{sync::Semaphore, time};
use whisker_sandbox::Error;

use crate::Unavailable;

/// For what makes or removes something.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// For what only asks, or freezes.
pub(crate) const SHORT: Duration = Duration::from_secs(10);

/// Beyond any limit of ours: the library's own is never met.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The daemon says no.
    #[error("the Docker daemon answers {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// No answer in time.
    #[error("the Docker daemon did not answer within {0:?}")]
    TimedOut(Duration),
    /// No answer.
    #[error("the Docker daemon cannot be asked: {0}")]
    Broken(Bollard),
}

impl Failed {
    /// Whether what was asked about is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Failed::Refused { status: 404, .. })
    }

    /// For the seam: the host could not do this.
    pub(crate) fn host(what: &'static str) -> impl FnOnce(Failed) -> Error {
        move |failed| Error::host(what)(std::io::Error::other(failed))
    }
}

impl From<Bollard> for Failed {
    fn from(error: Bollard) -> Failed {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => {
                Failed::Refused { status: status_code, message }
            }
            Bollard::DockerStreamError { error } => Failed::Refused { status: 200, message: error },
            other => Failed::Broken(other),
        }
    }
}

/// The daemon.
pub(crate) struct Daemon {
    docker: Docker,
    calls: Semaphore,
}

impl Daemon {
    /// Connects, and agrees on a version of its language.
    pub(crate) async fn connect(host: &str, calls: usize) -> Result<Daemon, Unavailable> {
        let unavailable = |said: String| Unavailable::Daemon { host: host.to_owned(), said };
        let docker = Docker::connect_with_host(host).map_err(|error| unavailable(error.to_string()))?;
        let docker = docker.with_timeout(NEVER).with_request_modifier(with_safe_credentials);
        let negotiated = time::timeout(SHORT, docker.negotiate_version()).await;
        let docker = negotiated
            .map_err(|_| unavailable("it takes too long".to_owned()))?
            .map_err(|error| unavailable(causes(&error)))?;
        Ok(Daemon { docker, calls: Semaphore::new(calls.max(1)) })
    }

    /// Makes one call when its turn has come. The limit counts from then.
    pub(crate) async fn call<'a, T, F>(
        &'a self,
        limit: Duration,
        call: impl FnOnce(&'a Docker) -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Bollard>>,
    {
        // Never closed.
        let _turn = self.calls.acquire().await;
        match time::timeout(limit, call(&self.docker)).await {
            Ok(answer) => answer.map_err(Failed::from),
            Err(_) => Err(Failed::TimedOut(limit)),
        }
    }

    /// For streams, which last.
    pub(crate) fn streams(&self) -> &Docker {
        &self.docker
    }
}

/// The library writes credentials in the alphabet of plain base64, where the
/// daemon reads that for URLs: passwords with certain letters would be nobody's.
fn with_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    const CREDENTIALS: HeaderName = HeaderName::from_static("x-registry-auth");
    if let Some(value) = request.headers().get(&CREDENTIALS) {
        let bytes: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if let Ok(mut value) = HeaderValue::from_bytes(&bytes) {
            value.set_sensitive(true);
            request.headers_mut().insert(CREDENTIALS, value);
        }
    }
    request
}

/// An error with all that caused it.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
