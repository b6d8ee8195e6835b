//! Whether Docker's daemon answers, and which it is. One request over its
//! socket, before anything else of it is needed.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const LONGEST: u64 = 64 * 1024;

/// A daemon that answered.
#[derive(Debug, Serialize)]
pub struct Daemon {
    pub socket: PathBuf,
    pub version: String,
    pub api: String,
}

/// Why none did.
#[derive(Debug, thiserror::Error)]
pub enum NoDaemon {
    #[error("--docker-host is {0:?}: only sockets of this host (unix://…) are asked")]
    Elsewhere(String),
    #[error("no Docker daemon answers at {}: {source}", socket.display())]
    Silent { socket: PathBuf, source: std::io::Error },
    #[error("what answers at {} is no Docker daemon", socket.display())]
    Other { socket: PathBuf },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
}

/// Asks the daemon for its version.
pub fn ask(host: &str) -> Result<Daemon, NoDaemon> {
    let socket = match host.strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None if host.starts_with('/') => PathBuf::from(host),
        None => return Err(NoDaemon::Elsewhere(host.to_owned())),
    };
    let answer = match request(&socket) {
        Ok(answer) => answer,
        Err(source) => return Err(NoDaemon::Silent { socket, source }),
    };
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    // Whether it came in chunks or not, the object is the text in braces.
    let object = body.and_then(|body| body.get(body.find('{')?..=body.rfind('}')?));
    match object.and_then(|object| serde_json::from_str::<Version>(object).ok()) {
        Some(found) => Ok(Daemon { socket, version: found.version, api: found.api_version }),
        None => Err(NoDaemon::Other { socket }),
    }
}

fn request(socket: &PathBuf) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
