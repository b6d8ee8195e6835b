//! The end of a container, which no caller can interrupt.
//!
//! One task for each container waits for its process to end or for the order
//! to end it, collects the dead, and gives back what the container had: its
//! cgroup, folder, user and network namespace. Those are given back only once
//! nothing of it runs any more.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, watch},
    time,
};

use crate::{cgroup::Group, network::Lease, numbers::Number, spawn};

/// How long bubblewrap's outer process may take to notice the others' end.
const OBEDIENCE: Duration = Duration::from_millis(500);

/// How often processes are killed again that would not die.
const AGAIN: Duration = Duration::from_secs(10);

/// How far a container's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    /// Its process runs.
    Alive,
    /// Its process ended; its traces are there for questions.
    Dead,
    /// Nothing of it is left.
    Buried,
}

/// A container's process and belongings.
pub(crate) struct Body {
    /// The process's id, and that of its group where it has its own.
    pid: i32,
    /// The cgroup; none without isolation.
    group: Option<Group>,
    process: AsyncFd<OwnedFd>,
    life: watch::Sender<Life>,
    burial: Notify,
    belongings: Mutex<Belongings>,
}

/// What is given back at the end.
pub(crate) struct Belongings {
    pub folder: PathBuf,
    pub user: Option<Number>,
    pub network: Option<Lease>,
}

impl Body {
    /// Takes a child on. One that cannot be watched is ended and collected, and
    /// what it had is given back, before the failure is told. [`keep`] looks after
    /// it from then on, and ends with it, which is when whoever has it says so.
    pub(crate) async fn adopt(
        child: spawn::Child,
        group: Option<Group>,
        belongings: Belongings,
    ) -> io::Result<Arc<Body>> {
        let pid = child.pid;
        let process = match spawn::watch(child.handle, Interest::READABLE) {
            Ok(process) => process,
            Err(error) => {
                end(pid, group.as_ref()).await;
                belongings.give_back().await;
                return Err(error);
            }
        };
        let (life, burial) = (watch::Sender::new(Life::Alive), Notify::new());
        let body = Arc::new(Body { pid, group, process, life, burial, belongings: Mutex::new(belongings) });
        tokio::spawn(keep(body.clone()));
        Ok(body)
    }

    pub(crate) fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Waits until life has come this far.
    pub(crate) async fn until(&self, life: Life) {
        let mut receiver = self.life.subscribe();
        // The sender is our own, so it cannot be gone.
        let _ = receiver.wait_for(|now| *now >= life).await;
    }

    /// Orders the end. Returns at once.
    pub(crate) fn bury(&self) {
        self.burial.notify_one();
    }

    /// Kills every process, and leaves the traces.
    ///
    /// Our own child is bubblewrap's outer process. It is spared, because it
    /// waits for the inner ones, ends after them, and takes their zombies with
    /// it; killed beside them, it would leave those to the host's first
    /// process. [`keep`] does not wait for it for ever.
    pub(crate) fn kill(&self) {
        if self.life() != Life::Alive {
            return;
        }
        match &self.group {
            Some(group) if group.kill_but(self.pid) > 0 => {}
            Some(_) | None => self.kill_outright(),
        }
    }

    fn kill_outright(&self) {
        match &self.group {
            Some(group) => group.kill(),
            None => {
                if let Some(group) = Pid::from_raw(self.pid) {
                    // It may have ended meanwhile.
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        }
        let _ = pidfd_send_signal(self.process.get_ref(), Signal::KILL);
    }

    /// How many processes were killed because memory ran out.
    pub(crate) fn memory_kills(&self) -> u64 {
        self.group.as_ref().map_or(0, Group::memory_kills)
    }

    pub(crate) async fn freeze(&self, frozen: bool) -> io::Result<()> {
        if let Some(group) = &self.group {
            return group.freeze(frozen).await;
        }
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        match Pid::from_raw(self.pid) {
            Some(group) => Ok(kill_process_group(group, signal)?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Looks after one container until it is buried.
async fn keep(body: Arc<Body>) {
    let ended = tokio::select! {
        _ = body.process.readable() => true,
        () = body.burial.notified() => false,
    };
    if !ended {
        body.kill();
        if time::timeout(OBEDIENCE, body.process.readable()).await.is_err() {
            body.kill_outright();
        }
        // SIGKILL is not refused; a process in an uninterruptible wait comes
        // round when its disk does.
        let _ = body.process.readable().await;
    }
    spawn::reap(body.process.get_ref());
    body.life.send_replace(Life::Dead);
    if ended {
        body.burial.notified().await;
        if body.group.is_none() {
            // Children that stayed behind.
            if let Some(group) = Pid::from_raw(body.pid) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }
    if let Some(group) = &body.group {
        remove(group).await;
    }
    let belongings = {
        let mut belongings = body.belongings.lock().unwrap_or_else(PoisonError::into_inner);
        Belongings {
            folder: std::mem::take(&mut belongings.folder),
            user: belongings.user.take(),
            network: belongings.network.take(),
        }
    };
    belongings.give_back().await;
    body.life.send_replace(Life::Buried);
}

/// Removes the group of a container that has no child of ours any more.
///
/// Processes that cannot be killed, for they wait for a device that does not
/// answer, hold memory, and what they had is not for the next one: so the
/// container counts as there until they are gone, however long that takes. The
/// pool has bounded its memory, and so the number of such waits.
async fn remove(group: &Group) {
    let mut told = false;
    while !group.remove().await {
        if !told {
            tracing::warn!(container = group.name(), "processes of a container cannot be killed; it is waited for");
            told = true;
        }
        time::sleep(AGAIN).await;
    }
}

/// Ends and collects a child that nobody watches.
async fn end(pid: i32, group: Option<&Group>) {
    if let Some(group) = group {
        group.kill();
    }
    if tokio::task::spawn_blocking(move || spawn::end(pid)).await.is_err() {
        tracing::warn!("the end of a container was not waited for, as the server ends");
    }
    if let Some(group) = group {
        remove(group).await;
    }
}

impl Belongings {
    async fn give_back(self) {
        let Belongings { folder, user, network } = self;
        drop((user, network));
        let removed = tokio::task::spawn_blocking(move || (fs::remove_dir_all(&folder), folder)).await;
        if let Ok((Err(error), folder)) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "a container's folder stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests;
