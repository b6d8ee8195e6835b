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
    pub(crate) fn new(child: spawn::Child, group: Option<Group>, belongings: Belongings) -> io::Result<Body> {
        Ok(Body {
            pid: child.pid,
            group,
            process: spawn::watch(child.handle, Interest::READABLE)?,
            life: watch::Sender::new(Life::Alive),
            burial: Notify::new(),
            belongings: Mutex::new(belongings),
        })
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
pub(crate) async fn keep(body: Arc<Body>) {
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
    let gone = match &body.group {
        Some(group) => group.remove().await,
        None => true,
    };
    if gone {
        give_back(&body).await;
    } else {
        let group = body.group.as_ref().map_or("", Group::name);
        tracing::warn!(container = group, "processes of a container could not be killed");
        // What it had stays taken: whoever got it next would share it.
        let mut belongings = body.belongings.lock().unwrap_or_else(PoisonError::into_inner);
        belongings.user.take().into_iter().for_each(Number::keep);
        belongings.network.take().into_iter().for_each(Lease::keep);
    }
    body.life.send_replace(Life::Buried);
}

async fn give_back(body: &Body) {
    let (folder, returned) = {
        let mut belongings = body.belongings.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut belongings.folder), (belongings.user.take(), belongings.network.take()))
    };
    drop(returned);
    let removed = tokio::task::spawn_blocking(move || (fs::remove_dir_all(&folder), folder)).await;
    if let Ok((Err(error), folder)) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "a container's folder stays until the next start");
    }
}
