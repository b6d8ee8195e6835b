//! The way to a running server: a socket in its data folder.
//!
//! One connection is one command: its JSON, the end of the stream, then the
//! answer's JSON. Commands are performed one at a time, since they read before
//! they write, so one that dawdles is given up.
//!
//! The file has mode 0600 before anyone can connect, and who connects must be
//! the server's own user or root: copies of the folder with other modes do not
//! open it to others.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::AsRawFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener as StdListener, UnixStream as StdStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::{Answer, Change, Command, Parts, perform};

/// The file's name in the data folder.
const NAME: &str = "admin.sock";
/// Longest command in bytes; many names of users fit.
const COMMAND_MAX_BYTES: u64 = 1 << 20;
/// How long a command may take to arrive, or an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the command line waits for an answer: the server's store may be
/// busy, and others' commands come first.
const ANSWER: Duration = Duration::from_secs(60);
/// And where all that there is has to be read.
const LONG_ANSWER: Duration = Duration::from_secs(60 * 60);
/// Commands that wait while one is performed; more are refused by the kernel.
const BACKLOG: i32 = 64;
/// Pause after the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket is there and cannot be used.
    #[error("cannot ask the server at {path}")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What came back is no answer.
    #[error("the server at {path} did not answer; is it of the same version?")]
    NoAnswer {
        /// Where it is.
        path: PathBuf,
    },
}

/// The server's end. The file goes with it.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket of a data folder. Whoever calls has the folder's lock:
    /// a socket that is there is of a server that was killed.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let folder = File::open(data_dir)?;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        bind(&socket, &SocketAddrUnix::new(short(&path, &folder))?)?;
        // Nobody can connect before it listens.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listen(&socket, BACKLOG)?;
        let listener = UnixListener::from_std(StdListener::from(socket))?;
        Ok(Self { listener, path })
    }

    /// Performs what is asked until cancelled. `changed` is called after each
    /// command that may have changed something, before it is answered.
    pub async fn run(self, parts: Parts, changed: impl Fn(Change) + Send, cancel: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let served = match accepted {
                // A command that was begun is finished.
                Ok((stream, _)) => serve(stream, &parts, &changed, &cancel).await,
                Err(error) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    Err(error)
                }
            };
            if let Err(error) = served {
                tracing::warn!(error = &error as &dyn std::error::Error, "an administrator could not be served");
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Left behind it does no harm: nobody listens there.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(
    mut stream: UnixStream,
    parts: &Parts,
    changed: &(impl Fn(Change) + Send),
    cancel: &CancellationToken,
) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {peer} is not the server's")));
    }
    let mut text = Vec::new();
    let mut reader = (&mut stream).take(COMMAND_MAX_BYTES);
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut text)).await??;
    let answer = match serde_json::from_slice::<Command>(&text) {
        Ok(command) => {
            let (change, is_long) = (command.changes(), command.is_long());
            let answer = tokio::select! {
                answer = perform(parts, command) => answer,
                () = cancel.cancelled(), if is_long => Answer::failed("the server ends: ask again when it is back"),
            };
            if change != Change::Nothing {
                changed(change);
            }
            answer
        }
        Err(_) => Answer::failed("the server does not know this command; is it of the same version?"),
    };
    let text = serde_json::to_vec(&answer)?;
    tokio::time::timeout(PATIENCE, stream.write_all(&text)).await??;
    Ok(())
}

/// Asks the server that has a data folder. `None` if there is none.
pub fn ask(data_dir: &Path, command: &Command) -> Result<Option<Answer>, Error> {
    let path = data_dir.join(NAME);
    let failed = |source| Error::Io { path: path.clone(), source };
    let folder = match File::open(data_dir) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut stream = match StdStream::connect(short(&path, &folder)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let exchange = || {
        stream.set_read_timeout(Some(if command.is_long() { LONG_ANSWER } else { ANSWER }))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(&serde_json::to_vec(command)?)?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = { exchange }().map_err(failed)?;
    serde_json::from_slice(&text).map(Some).map_err(|_| Error::NoAnswer { path })
}

/// A path that the kernel takes for a socket: those have 107 bytes at most,
/// which folders of data exceed. Then the way leads through the open folder.
fn short(path: &Path, folder: &File) -> PathBuf {
    const MAX_BYTES: usize = 107;
    match path.as_os_str().len() <= MAX_BYTES {
        true => path.to_owned(),
        false => format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()).into(),
    }
}
