//! One container as its users see it.
//!
//! A container that broke its word (a deadline passed, its connection broke) is
//! *spent*: it is killed, and never runs again. The [`keeper`](crate::keeper)
//! sees to its end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time;
use whisker_artifacts::{Failure, READY_WAIT, Refusal};
use whisker_entity::{ActivationId, MB};
use whisker_sandbox::{Code, Container, Ended, Error, Init, InitEnd, Logs, Run, RunEnd, Stream};

use crate::{
    client::{Client, Limit, Reply, Unanswered},
    content::{Content, Sent},
    daemon::Failed,
    keeper::{Body, Life},
    verdict,
    workshop::{Compiler, Workshop},
};

/// How long a container may take to be dead once it broke a connection, before
/// it is made to.
const GRACE: Duration = Duration::from_secs(2);

/// How long the last words of a dead container are waited for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long a sentinel is waited for after the line before it; OpenWhisk's
/// number, as is the time for a megabyte of log, and for the smallest.
const SENTINEL_WAIT: Duration = Duration::from_secs(2);
const MEGABYTE_WAIT: Duration = Duration::from_secs(2);
const LEAST_MEGABYTES: u64 = 5;

/// The same after an error, which not every runtime ends with a sentinel: its
/// container goes anyway.
const SENTINEL_WAIT_AFTER_ERROR: Duration = Duration::from_millis(200);

/// How long an image that has never written a sentinel is to be silent before
/// its output counts as read: lines take about a millisecond from there to here.
const SILENCE: Duration = Duration::from_millis(20);
const MOST_SILENCE_WAIT: Duration = Duration::from_secs(1);

/// How long the first words of such an image are waited for after its first run,
/// since a start on a busy machine delays them. One that is always silent waits
/// for that once.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Pauses between attempts to reach a container that comes up: doubling, from
/// less than the fastest runtime takes to start to what nobody notices.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(25);

/// Longest answer to `/init` that is looked at.
const INIT_ANSWER: Limit = Limit { whole_bytes: 1 << 20, beginning_bytes: 1 << 20 };

/// A handle on a container; dropping it ends the container.
pub(crate) struct DockerContainer {
    inside: Inside,
}

struct Inside {
    body: Arc<Body>,
    client: Client,
    /// Whether every activation's output is known to end with sentinels.
    sentinels: bool,
    /// Whether binary code is sent as it is.
    takes_bytes: bool,
    /// Who compiles its code, and how, where that is not left to its `/init`.
    source: Option<(Workshop, Compiler)>,
    /// Whether nobody has waited for its first words yet.
    unheard: AtomicBool,
    spent: AtomicBool,
    /// Whether the last answer was an error of the developer's.
    failed: AtomicBool,
}

impl DockerContainer {
    pub(crate) fn new(
        body: Arc<Body>,
        client: Client,
        sentinels: bool,
        takes_bytes: bool,
        source: Option<(Workshop, Compiler)>,
    ) -> DockerContainer {
        let (spent, failed, unheard) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(true));
        DockerContainer { inside: Inside { body, client, sentinels, takes_bytes, source, unheard, spent, failed } }
    }
}

impl Drop for DockerContainer {
    fn drop(&mut self) {
        self.inside.body.bury();
    }
}

/// Marks the container spent when an exchange is dropped half done: what its
/// other end makes of that cannot be known.
struct Unfinished<'a>(&'a Inside);

impl Unfinished<'_> {
    fn finished(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Inside {
    /// Never to be used again, and stopped at once. What it had written can
    /// still be read.
    fn stop(&self) {
        self.spent.store(true, Ordering::Release);
        self.body.kill();
    }

    fn usable(&self) -> Result<(), Error> {
        if self.spent.load(Ordering::Acquire) || self.body.life() != Life::Alive {
            return Err(Error::Gone);
        }
        Ok(())
    }

    /// Why a container stopped talking.
    async fn post_mortem(&self) -> Ended {
        self.spent.store(true, Ordering::Release);
        if time::timeout(GRACE, self.body.until_dead()).await.is_err() {
            // It lives, but does not serve any more.
            self.body.kill();
            return Ended::Exited;
        }
        if self.body.ran_out_of_memory().await { Ended::OutOfMemory } else { Ended::Exited }
    }

    /// Has the code made ready, in time that is not the action's; what is to be
    /// sent then.
    async fn ready(&self, init: Init) -> Result<Result<Content, InitEnd>, Error> {
        let program = match &self.source {
            None => Ok(None),
            Some((workshop, compiler)) => {
                let made = time::timeout(READY_WAIT, workshop.program(compiler, &init)).await;
                made.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
            }
        };
        let (init, compiled) = match program {
            Ok(None) => (init, false),
            Ok(Some(program)) => (Init { code: Code::Binary(program), ..init }, true),
            Err(Failure::Refused(Refusal { words, details, .. })) => {
                self.body.note(Stream::Stderr, &details);
                return Ok(Err(InitEnd::Failed((*words).into())));
            }
            Err(Failure::Host(error)) => {
                return Err(Error::host("compile the action")(io::Error::new(error.kind(), error.to_string())));
            }
        };
        let sent = if self.takes_bytes { Sent::AsItIs } else { Sent::AsBase64 };
        let content = Content::init(&init, compiled, sent).map_err(io::Error::from);
        content.map(Ok).map_err(Error::host("write an initialisation"))
    }

    /// Sends the initialisation, as soon as there is anyone to send it to.
    async fn load(&self, content: &Content) -> Result<Reply, Unanswered> {
        let mut pause = FIRST_RETRY;
        loop {
            match self.client.post("/init", content, INIT_ANSWER).await {
                Err(Unanswered::Unreachable(_)) if self.body.life() == Life::Alive => {
                    tokio::select! {
                        () = time::sleep(pause) => pause = (pause * 2).min(LAST_RETRY),
                        () = self.body.until_dead() => {}
                    }
                }
                answer => return answer,
            }
        }
    }
}

#[async_trait]
impl Container for DockerContainer {
    async fn init(&self, init: Init, deadline: Duration) -> Result<InitEnd, Error> {
        let inside = &self.inside;
        inside.body.output().begin(init.activation);
        let unfinished = Unfinished(inside);
        let end = match inside.ready(init).await? {
            Ok(content) => match time::timeout(deadline, inside.load(&content)).await {
                Ok(Ok(reply)) => verdict::of_init(reply),
                Ok(Err(_)) => InitEnd::Ended(inside.post_mortem().await),
                Err(_) => {
                    inside.stop();
                    InitEnd::Ended(Ended::TimedOut)
                }
            },
            Err(refused) => refused,
        };
        inside.failed.store(!matches!(end, InitEnd::Ready), Ordering::Release);
        unfinished.finished();
        Ok(end)
    }

    async fn run(&self, run: Run, deadline: Duration) -> Result<RunEnd, Error> {
        /// What a server answers that is about to end: the run goes elsewhere.
        const SHUTTING_DOWN: u16 = 503;

        let inside = &self.inside;
        inside.usable()?;
        let content = Content::run(&run).map_err(io::Error::from).map_err(Error::host("write a run"))?;
        let limit = Limit { whole_bytes: run.result_limit_bytes, beginning_bytes: run.truncation_bytes };
        let late = inside.body.output().begin(run.activation);
        if late > 0 {
            tracing::info!(lines = late, "lines that came after their activation's record was made are dropped");
        }
        let unfinished = Unfinished(inside);
        let end = match time::timeout(deadline, inside.client.post("/run", &content, limit)).await {
            Ok(Ok(reply)) if reply.status == SHUTTING_DOWN => {
                inside.stop();
                Err(Error::Gone)
            }
            Ok(Ok(reply)) => Ok(verdict::of_run(reply)),
            Ok(Err(Unanswered::Unreachable(error))) => {
                tracing::debug!(%error, "a container cannot be reached any more");
                inside.stop();
                Err(Error::Gone)
            }
            Ok(Err(Unanswered::Broken)) => Ok(RunEnd::Ended(inside.post_mortem().await)),
            Err(_) => {
                inside.stop();
                Ok(RunEnd::Ended(Ended::TimedOut))
            }
        };
        let fine = matches!(end, Ok(RunEnd::Answered(_) | RunEnd::TooLong { .. }));
        inside.failed.store(!fine, Ordering::Release);
        unfinished.finished();
        end
    }

    async fn logs(&self, activation: ActivationId, limit_bytes: u64) -> Logs {
        let inside = &self.inside;
        let body = &inside.body;
        let mut incomplete = false;
        if inside.spent.load(Ordering::Acquire) || body.life() != Life::Alive {
            // What it wrote last is here once its streams have ended.
            let _ = time::timeout(LAST_WORDS, body.until_output_ended()).await;
        } else if inside.failed.load(Ordering::Acquire) {
            body.gather(|output| output.is_complete(activation), SENTINEL_WAIT_AFTER_ERROR, MOST_SILENCE_WAIT).await;
        } else if inside.sentinels || body.output().has_sentinels() {
            let megabytes = u32::try_from((limit_bytes / MB).max(LEAST_MEGABYTES)).unwrap_or(u32::MAX);
            let limit = MEGABYTE_WAIT.saturating_mul(megabytes);
            incomplete = !body.gather(|output| output.is_complete(activation), SENTINEL_WAIT, limit).await;
            if incomplete {
                // What is still to come is nobody else's.
                inside.stop();
            }
        } else {
            if inside.unheard.swap(false, Ordering::AcqRel) {
                body.until_written(FIRST_WORDS).await;
            }
            body.gather(|output| output.is_complete(activation), SILENCE, MOST_SILENCE_WAIT).await;
        }
        let logs = body.output().take(activation, limit_bytes);
        // What was not waited for lies beyond the cut.
        Logs { incomplete: incomplete && !logs.truncated, ..logs }
    }

    async fn pause(&self) -> Result<(), Error> {
        self.inside.usable()?;
        self.inside.client.hang_up();
        self.inside.body.pause().await.map_err(Failed::host("pause a container"))
    }

    async fn resume(&self) -> Result<(), Error> {
        self.inside.usable()?;
        self.inside.body.resume().await.map_err(Failed::host("resume a container"))
    }

    async fn destroy(&self) {
        self.inside.spent.store(true, Ordering::Release);
        self.inside.body.bury();
        self.inside.body.until(|life| life == Life::Buried).await;
    }

    async fn died(&self) {
        self.inside.body.until_dead().await;
    }
}
