//! The launcher: a child that takes orders on its standard input and says what
//! came of them on its descriptor 3.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    sync::{self, oneshot, watch},
    time,
};
use whisker_entity::ActivationId;
use whisker_frame::{Head, Parser, Sink};

use crate::{
    answer,
    output::{self, Output},
};

/// What is kept of an answer. A platform takes no longer one, and of those no
/// more than some megabytes; this keeps it from filling the container's memory.
const ANSWER_BYTES: usize = 16 << 20;

/// Longest log line that is passed on whole; launchers cut them at a quarter.
const LINE_BYTES: usize = 64 << 10;

/// How long the last words of a launcher that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Exit status when a launcher closed the way by which it answers.
const SILENT: u8 = 70;

/// What a launcher said of an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether it failed as a developer's error.
    pub failed: bool,
    /// The JSON, or its beginning.
    pub json: Vec<u8>,
    /// Bytes of it that were not kept.
    pub missing: u64,
}

/// A running launcher.
pub(crate) struct Launcher {
    orders: sync::Mutex<pipe::Sender>,
    heard: Mutex<Heard>,
}

/// Who waits for what, and what is on its way out.
struct Heard {
    init: Option<oneshot::Sender<Said>>,
    runs: HashMap<ActivationId, oneshot::Sender<Said>>,
    output: Output,
}

impl Launcher {
    /// Starts one; the future is that of its end, with the status for ours.
    pub(crate) fn start(command: &[String]) -> anyhow::Result<(Arc<Launcher>, impl Future<Output = u8>)> {
        let (program, rest) = command.split_first().context("no launcher was named")?;
        let (input, orders) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        let (frames, descriptor) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        // Before there is a child, whose end must not be missed.
        let mut children = signal(SignalKind::child()).context("cannot listen to signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        let mut child = Command::new(program);
        child.args(rest).env_remove(output::VARIABLE).stdin(Stdio::from(input));
        child.fd_mappings(vec![FdMapping { parent_fd: descriptor, child_fd: 3 }])?;
        let spawned = child.spawn().with_context(|| format!("cannot start {program}"))?;
        // It holds our ends of the child's descriptors.
        drop(child);
        let id = i32::try_from(spawned.id()).ok().and_then(Pid::from_raw).context("a child has an id")?;

        let launcher = Arc::new(Launcher {
            orders: sync::Mutex::new(pipe::Sender::from_owned_fd(nonblocking(orders)?)?),
            heard: Mutex::new(Heard { init: None, runs: HashMap::new(), output: Output::new() }),
        });
        let frames = pipe::Receiver::from_owned_fd(nonblocking(frames)?)?;
        let (silent, mut fell_silent) = watch::channel(false);
        let reader = launcher.clone();
        tokio::spawn(async move {
            reader.listen(frames).await;
            // Nobody listens once the launcher has ended.
            let _ = silent.send(true);
        });
        let own = launcher.clone();
        let ended = async move {
            let status = loop {
                tokio::select! {
                    _ = children.recv() => if let Some(status) = reap(id) { break status },
                    _ = terminate.recv() => break 128 + 15,
                    _ = fell_silent.wait_for(|silent| *silent) => break wait_a_little(id, &mut children).await,
                }
            };
            let _ = time::timeout(LAST_WORDS, fell_silent.wait_for(|silent| *silent)).await;
            own.heard().output.flush();
            status
        };
        Ok((launcher, ended))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the initialisation, and waits for what comes of it.
    pub(crate) async fn init(&self, line: &[u8]) -> Option<Said> {
        let (sender, said) = oneshot::channel();
        self.heard().init = Some(sender);
        self.order(line).await.ok()?;
        said.await.ok()
    }

    /// Gives a run, and waits for what comes of it.
    pub(crate) async fn run(&self, activation: ActivationId, line: &[u8]) -> Option<Said> {
        let (sender, said) = oneshot::channel();
        self.heard().runs.insert(activation, sender);
        self.order(line).await.ok()?;
        said.await.ok()
    }

    /// Ends the output of an activation whose initialisation failed.
    pub(crate) fn end_output(&self, activation: ActivationId) {
        self.heard().output.end(activation);
    }

    async fn order(&self, line: &[u8]) -> io::Result<()> {
        self.orders.lock().await.write_all(line).await
    }

    /// Reads frames to their end.
    async fn listen(&self, mut frames: pipe::Receiver) {
        let mut parser = Parser::default();
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = frames.read(&mut bytes).await {
            let mut heard = self.heard();
            parser.push(&bytes[..count], &mut *heard);
            heard.output.flush();
        }
    }
}

fn nonblocking(pipe: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}

/// A launcher that will answer no more has a moment to end by itself, so that
/// its own status is told.
async fn wait_a_little(id: Pid, children: &mut tokio::signal::unix::Signal) -> u8 {
    let ends = async {
        loop {
            if let Some(status) = reap(id) {
                return status;
            }
            children.recv().await;
        }
    };
    match time::timeout(LAST_WORDS, ends).await {
        Ok(status) => status,
        Err(_) => {
            // All that is left in the container goes with us.
            let _ = kill_process(id, Signal::KILL);
            SILENT
        }
    }
}

/// Takes leave of every child that ended: the launcher's own, and those whose
/// parents went before them, which fall to the container's first process.
fn reap(launcher: Pid) -> Option<u8> {
    let mut ended = None;
    while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
        if id == launcher {
            ended = Some(as_exit_status(status));
        }
    }
    ended
}

fn as_exit_status(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signal).and_then(|status| u8::try_from(status).ok()).unwrap_or(SILENT)
}

impl Sink for Heard {
    fn room(&mut self, head: Head) -> usize {
        match head {
            Head::Line { .. } => LINE_BYTES,
            Head::Init | Head::Result(_) | Head::Failure(_) => ANSWER_BYTES,
            Head::Bare if self.init.is_some() || !self.runs.is_empty() => ANSWER_BYTES,
            Head::Bare => 0,
        }
    }

    fn line(&mut self, head: Head, payload: &[u8], length: u64) {
        let missing = length - payload.len() as u64;
        let said = |failed| Said { failed, json: payload.to_vec(), missing };
        // Whoever asked may have gone away; the sentinels are due all the same.
        match head {
            Head::Line { activation, stream, time_us } => self.output.line(activation, stream, time_us, payload),
            Head::Init => {
                self.output.flush();
                if let Some(waits) = self.init.take() {
                    let _ = waits.send(said(false));
                }
            }
            Head::Result(activation) | Head::Failure(activation) => {
                let Some(waits) = self.runs.remove(&activation) else { return };
                self.output.end(activation);
                let _ = waits.send(said(matches!(head, Head::Failure(_))));
            }
            // A plain ActionLoop program: it has one order at a time.
            Head::Bare => {
                if let Some(waits) = self.init.take() {
                    let _ = waits.send(said(false));
                    return;
                }
                let Some(activation) = self.runs.keys().next().copied() else { return };
                let Some(waits) = self.runs.remove(&activation) else { return };
                self.output.end(activation);
                let is_result = missing > 0 || payload.starts_with(b"{") || payload.starts_with(b"[");
                let _ = waits.send(if is_result {
                    said(false)
                } else {
                    let json = json!({ "error": answer::NO_RESULT }).to_string().into_bytes();
                    Said { failed: true, json, missing: 0 }
                });
            }
        }
    }
}
