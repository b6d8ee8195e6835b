//! What a container's code becomes: unpacked, or compiled, once for all.
//!
//! A compiler runs its author's program as much as a container does (build
//! scripts, code generators, bombs for the type checker), so it runs in a
//! container of its own: no network, a memory and a time limit, the code
//! read-only at `/action`. What it made comes out as a tar on descriptor 3, and
//! is unpacked with the care that is taken of an uploaded archive, since it is
//! no more to be trusted. Whatever it *said* means that it failed, as it does
//! to OpenWhisk's proxies.
//!
//! Its time is its own and not the action's: a function that must answer
//! within a second may well take a minute to compile, once.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
    time,
};
use whisker_artifacts::{
    Artifacts, Failure, Held, Key, Refusal, SAID_BYTES, TRY_AGAIN,
    archive::{self, Refused},
};
use whisker_sandbox::{Code, Init};

use crate::{
    catalog::{Launch, Recipe},
    keeper::{Body, Life},
    parts::{Build, Parts},
    thread::Maker,
};

/// How long the end of a killed compiler's output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Boxed, since what is prepared is built like that which it is for.
type BoxedHeld<'a> = Pin<Box<dyn Future<Output = Result<Arc<Held>, Failure>> + Send + 'a>>;

/// Makes artifacts of code, and keeps them.
#[derive(Clone)]
pub(crate) struct Workshop {
    parts: Arc<Parts>,
    maker: Maker,
    artifacts: Artifacts,
    /// Turns at unpacking and compiling. Those who wait for one are containers
    /// that start, of which there is a bounded number.
    turns: Arc<Semaphore>,
}

impl Workshop {
    pub(crate) fn new(parts: Arc<Parts>, maker: Maker, artifacts: Artifacts) -> Workshop {
        let turns = Arc::new(Semaphore::new(parts.config.makers.max(1)));
        Workshop { parts, maker, artifacts, turns }
    }

    /// The folder that a container is to see as its code, made if it was not
    /// yet; `None` for source text that the launcher takes as it is.
    ///
    /// Waits as long as the code takes and the code of others before it, all
    /// of which have limits; dropping the wait stops nothing.
    pub(crate) async fn code(&self, launch: &Launch, init: &Init) -> Result<Option<Arc<Held>>, Failure> {
        let bytes = match &init.code {
            Code::Text(_) if launch.compile.is_none() && !launch.handover => return Ok(None),
            code => code.bytes(),
        };
        let code = init.identity();
        let mut parts = code.parts().to_vec();
        if launch.jars {
            parts.push(b"jar");
        }
        let identity = match &launch.compile {
            Some(Ok(recipe)) => format!("{} {}", recipe.kind, recipe.identity),
            // Tried again once there is a compiler.
            Some(Err(reason)) => reason.clone(),
            None => String::new(),
        };
        if launch.compile.is_some() {
            parts.extend([identity.as_bytes(), init.main.as_bytes()]);
        }
        let (workshop, launch, main) = (self.clone(), launch.clone(), init.main.clone());
        let make = move |folder| async move { workshop.make(&launch, bytes, &main, folder).await };
        self.artifacts.get(Key::of(parts), make).await.map(Some)
    }

    /// What a recipe prepares for launchers or compilers.
    pub(crate) fn prepared<'a>(&'a self, recipe: &'a Recipe) -> BoxedHeld<'a> {
        let (workshop, own) = (self.clone(), recipe.clone());
        let make = move |folder: PathBuf| async move {
            workshop.build(&own, None, "", &folder).await.map_err(|failure| match failure {
                Failure::Refused(refusal) => Failure::Refused(Refusal { lasts: Some(TRY_AGAIN), ..refusal }),
                Failure::Host(_) => failure,
            })
        };
        Box::pin(self.artifacts.get(Key::of([b"prepared", recipe.identity.as_bytes()]), make))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        Ok(self.turns.acquire().await.map_err(io::Error::other)?)
    }

    async fn make(&self, launch: &Launch, code: Bytes, main: &str, folder: PathBuf) -> Result<(), Failure> {
        let (limits, jars, place) = (self.parts.config.archive, launch.jars, folder.clone());
        // Whether it is a program already.
        let made = move || -> Result<bool, Failure> {
            if jars && archive::is_jar(&code, limits) {
                archive::place_whole(&code, &place.join("exec.jar"), false)?;
                return Ok(true);
            }
            archive::place(&code, &place, limits).map_err(refused)?;
            Ok(is_program(&place.join("exec")))
        };
        let program = {
            let _turn = self.turn().await?;
            spawn_blocking(made).await.map_err(io::Error::other)??
        };
        match &launch.compile {
            Some(_) if program => Ok(()),
            Some(Ok(recipe)) => self.build(recipe, Some(&folder), main, &folder).await,
            Some(Err(reason)) => Err(io::Error::new(io::ErrorKind::Unsupported, reason.clone()).into()),
            None if launch.handover && !program => Err(Refusal::not_built("").into()),
            None => Ok(()),
        }
        .and_then(|()| match launch.handover && !folder.join("exec").is_file() {
            true => Err(Refusal::not_built("").into()),
            false => Ok(()),
        })
    }

    /// Runs a recipe on `source` and fills the folder `made`, which may be the
    /// same one.
    async fn build(&self, recipe: &Recipe, source: Option<&Path>, main: &str, made: &Path) -> Result<(), Failure> {
        let prepared = match &recipe.prepare {
            Some(prepare) => Some(self.prepared(prepare).await.map_err(not_prepared)?),
            None => None,
        };
        // Not before: what is prepared takes a turn of its own.
        let _turn = self.turn().await?;
        let build = self.begin(recipe, source, main, prepared.as_deref()).await?;
        if source == Some(made) {
            // It moved into the compiler's container.
            make_folder(made)?;
        }
        let (body, tar, said) = build;
        let (folder, limits) = (made.to_owned(), self.parts.config.archive);
        let unpacking = spawn_blocking(move || {
            let mut tar = File::from(tar);
            let unpacked = archive::place_tar(&mut tar, &folder, limits);
            // A compiler must not wait for a reader that has given up.
            let rest = io::copy(&mut tar, &mut io::sink());
            unpacked.and(rest.map(drop).map_err(Refused::Host))
        });
        let listening = spawn_blocking(move || -> io::Result<String> {
            let mut said = File::from(said);
            let mut kept = Vec::new();
            (&mut said).take(SAID_BYTES).read_to_end(&mut kept)?;
            io::copy(&mut said, &mut io::sink())?;
            Ok(String::from_utf8_lossy(&kept).into_owned())
        });
        let mut work = std::pin::pin!(async { tokio::join!(unpacking, listening) });
        let limit = recipe.time.min(self.parts.config.compile_time);
        let in_time = time::timeout(limit, &mut work).await;
        let late = in_time.is_err();
        let ended = match in_time {
            Ok(ended) => Ok(ended),
            Err(_) => {
                body.kill();
                time::timeout(LAST_WORDS, work).await
            }
        };
        let starved = body.memory_kills() > 0;
        body.bury();
        body.until(Life::Buried).await;
        let (unpacked, said) = ended.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let unpacked = unpacked.map_err(io::Error::other)?;
        let said = said.map_err(io::Error::other)??;
        if late {
            return Err(Refusal::late(limit, &said).into());
        }
        if starved {
            return Err(Refusal::starved(recipe.memory_mb, &said).into());
        }
        if !said.trim().is_empty() {
            return Err(Refusal::not_built(&said).into());
        }
        match unpacked {
            Err(Refused::Damaged(_)) => Err(Refusal::not_built("").into()),
            Err(other) => Err(refused(other)),
            Ok(()) if fs::read_dir(made)?.next().is_none() => Err(Refusal::not_built("").into()),
            Ok(()) => Ok(()),
        }
    }

    /// Starts a recipe's container: what is kept of it, its descriptor 3, and
    /// what it says.
    async fn begin(
        &self,
        recipe: &Recipe,
        source: Option<&Path>,
        main: &str,
        prepared: Option<&Held>,
    ) -> Result<(Arc<Body>, OwnedFd, OwnedFd), Failure> {
        let (tar, tar_end) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let (said, said_end) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let build = Build {
            recipe: recipe.clone(),
            main: main.to_owned(),
            source: source.map(Path::to_owned),
            prepared: prepared.map(|held| held.folder().to_owned()),
            tar: tar_end,
            said: said_end,
        };
        let parts = self.parts.clone();
        let made = self.maker.run(move || parts.make_build(&build)).await??;
        let body = Body::adopt(made.child, made.group, made.belongings).await?;
        Ok((body, tar, said))
    }
}

/// What fails before any of the action's code is looked at is not its fault.
fn not_prepared(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(Refusal { words, details, .. }) => {
            io::Error::other(format!("what compilers take could not be prepared: {words} {}", details.trim())).into()
        }
        Failure::Host(_) => failure,
    }
}

/// An archive's refusal is its author's fault; the host's trouble is ours.
fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::Host(error) => error.into(),
        other => Refusal::new(other.to_string()).into(),
    }
}

fn is_program(file: &Path) -> bool {
    let mut beginning = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut beginning)).is_ok() && archive::is_program(&beginning)
}

/// One that containers' users can look into, whatever the umask says.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Shows what is in one folder in another, which is empty, without taking its
/// room on the disk again: files are the same ones, by another name. Neither
/// folder's users may write to them.
///
/// With `copies` they are others, for containers that are not isolated and so
/// could.
pub(crate) fn share(from: &Path, to: &Path, copies: bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, there) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            make_folder(&there)?;
            share(&entry.path(), &there, copies)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, there)?;
        } else if copies || fs::hard_link(entry.path(), &there).is_err() {
            // File systems differ in how many names a file may have, if any.
            fs::copy(entry.path(), there)?;
        }
    }
    Ok(())
}
