//! What source becomes: compiled, once for all containers that run it.
//!
//! Images of ours compile when they are asked to and do nothing else (the
//! proxy's `once`). That is done in a container of the kind's image without
//! network, with the memory and time that the manifest gives compilers, and none
//! of what the action has: neither its parameters nor its limits. Code goes in
//! by standard input, what was made comes out by standard output, and is kept
//! as it came: it is unpacked where it runs, with the care that is taken of an
//! uploaded archive. So the daemon may be anywhere, and this host opens nothing
//! of a user's.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder},
};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use tokio::{io::AsyncWriteExt as _, sync::Semaphore, task::spawn_blocking, time};
use whisker_artifacts::{Artifacts, Failure, Key, Refusal, SAID_BYTES, archive};
use whisker_sandbox::{Code, Init};

use crate::{
    Config,
    catalog::Recipe,
    confine,
    content::{Content, Sent},
    daemon::{Daemon, Failed, LONG},
    keeper::{Body, Life},
    output::Output,
};

/// The one file of an artifact: a tar, as the proxy's `once` writes it.
const PROGRAM: &str = "program.tar";

/// Longest program: as much as the proxy takes, less what base64 adds where an
/// image takes no bytes.
const PROGRAM_BYTES: usize = 90 << 20;

/// How long the end of a compiler's container is waited for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Statuses that the proxy ends with; see its `once`.
const NOT_BUILT: i64 = 1;
const REFUSED: i64 = 2;

/// Makes programs, and keeps them.
#[derive(Clone)]
pub(crate) struct Workshop {
    config: Arc<Config>,
    daemon: Arc<Daemon>,
    artifacts: Artifacts,
    /// Turns at compiling. Those who wait for one are containers that start, of
    /// which there is a bounded number.
    turns: Arc<Semaphore>,
    numbers: Arc<AtomicU64>,
}

/// How the code of one kind becomes programs.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    /// The image by its content, compilers and all.
    pub image: String,
    pub recipe: Recipe,
}

/// What a compiler's container came to.
#[derive(Default)]
struct Came {
    made: Vec<u8>,
    said: Vec<u8>,
    too_long: bool,
}

impl Workshop {
    /// Opens the folder that the settings name. Blocks.
    pub(crate) fn open(config: &Arc<Config>, daemon: &Arc<Daemon>) -> io::Result<Workshop> {
        let artifacts = Artifacts::open(&config.artifacts, config.artifact_bytes)?;
        let turns = Arc::new(Semaphore::new(config.makers.max(1)));
        let (config, daemon) = (config.clone(), daemon.clone());
        Ok(Workshop { config, daemon, artifacts, turns, numbers: Arc::default() })
    }

    /// The program that the code becomes, made if it was not yet; `None` for
    /// code that is one.
    ///
    /// Waits as long as the compiler takes and those before it, all of which
    /// have limits; dropping the wait stops nothing.
    pub(crate) async fn program(&self, compiler: &Compiler, init: &Init) -> Result<Option<Bytes>, Failure> {
        let ready = match &init.code {
            Code::Text(text) => archive::is_program(text.as_bytes()),
            Code::Binary(bytes) => {
                let jar = compiler.recipe.jars && archive::is_jar(bytes, archive::Limits::default());
                jar || archive::is_program(bytes)
            }
        };
        if ready {
            return Ok(None);
        }
        let code = init.identity();
        let what: [&[u8]; 3] = [b"docker, a tar", compiler.image.as_bytes(), init.main.as_bytes()];
        let key = Key::of(what.into_iter().chain(code.parts()));
        // The code and what it is called by: its compiler is shown nothing else.
        let source = Init { env: Default::default(), ..init.clone() };
        let (workshop, compiler) = (self.clone(), compiler.clone());
        let held = self
            .artifacts
            .get(key, move |folder| async move {
                let content = Content::init(&source, false, Sent::AsBase64).map_err(io::Error::from)?;
                let made = workshop.compile(&compiler, &content).await?;
                Ok(spawn_blocking(move || std::fs::write(folder.join(PROGRAM), made))
                    .await
                    .map_err(io::Error::other)??)
            })
            .await?;
        let program = spawn_blocking(move || std::fs::read(held.folder().join(PROGRAM)));
        Ok(Some(program.await.map_err(io::Error::other)??.into()))
    }

    async fn compile(&self, compiler: &Compiler, source: &Content) -> Result<Vec<u8>, Failure> {
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let name = format!("whisker-{}-{}-compiler-{number}", self.config.instance, std::process::id());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = confine::compiler(&self.config, &compiler.image, &compiler.recipe);
        let created = self.daemon.call(LONG, |docker| docker.create_container(Some(options), body)).await;
        let id = created.map_err(troubled)?.id;
        let body = Body::new(self.daemon.clone(), id.clone(), Output::new(0, false));
        let made = self.see_through(&body, &id, compiler, source).await;
        body.bury();
        body.until(|life| life == Life::Buried).await;
        made
    }

    /// What comes of the container that was created.
    async fn see_through(
        &self,
        body: &Arc<Body>,
        id: &str,
        compiler: &Compiler,
        source: &Content,
    ) -> Result<Vec<u8>, Failure> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attached = time::timeout(LONG, self.daemon.streams().attach_container(id, Some(options))).await;
        let attached =
            attached.map_err(|_| troubled(Failed::TimedOut(LONG)))?.map_err(|error| troubled(error.into()))?;
        self.daemon.call(LONG, |docker| docker.start_container(id, None)).await.map_err(troubled)?;
        // Ends with the container.
        tokio::spawn(body.clone().watch());
        let Recipe { memory_mb, time: limit, .. } = compiler.recipe;
        let limit = limit.min(self.config.compile_time);
        let mut came = Came::default();
        let late = time::timeout(limit, came.hear(attached, source)).await.is_err();
        if late {
            body.kill();
        }
        let dead = time::timeout(LAST_WORDS, body.until_dead()).await.is_ok();
        let said = String::from_utf8_lossy(&came.said).into_owned();
        let status = match body.life() {
            Life::Dead { status } => status,
            Life::Alive | Life::Buried => -1,
        };
        if late {
            return Err(Refusal::late(limit, &said).into());
        }
        if status == 0 && !came.made.is_empty() && !came.too_long {
            return Ok(came.made);
        }
        if dead && body.ran_out_of_memory().await {
            return Err(Refusal::starved(memory_mb, &said).into());
        }
        Err(match status {
            0 if came.too_long => {
                Refusal::new(format!("The action's program has more than {} MB.", PROGRAM_BYTES >> 20)).into()
            }
            0 | NOT_BUILT => Refusal::not_built(&said).into(),
            REFUSED => Refusal::new(said).into(),
            // Neither the proxy's own end nor, by its memory, the compiler's.
            other => io::Error::other(format!("the compiler's container ended with status {other}: {said}")).into(),
        })
    }
}

impl Came {
    /// Tells the container what to compile, and hears it to its end.
    async fn hear(&mut self, attached: AttachContainerResults, source: &Content) {
        let AttachContainerResults { mut output, mut input } = attached;
        let hearing = async {
            while let Some(Ok(piece)) = output.next().await {
                match piece {
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        self.too_long |= self.made.len() + message.len() > PROGRAM_BYTES;
                        if !self.too_long {
                            self.made.extend_from_slice(&message);
                        }
                    }
                    LogOutput::StdErr { message } => {
                        let room = (SAID_BYTES as usize).saturating_sub(self.said.len());
                        self.said.extend_from_slice(&message[..message.len().min(room)]);
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
        };
        let telling = async {
            let mut content = source.body();
            while let Some(Ok(frame)) = content.frame().await {
                let Ok(bytes) = frame.into_data() else { continue };
                // One that is gone says in its status why.
                if input.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _ = input.flush().await;
            // Open until all was heard: it need not end.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = hearing => {}
            () = telling => {}
        }
    }
}

fn troubled(failed: Failed) -> Failure {
    io::Error::other(failed).into()
}
