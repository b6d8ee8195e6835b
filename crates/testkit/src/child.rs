//! A process that ends with its owner, and with this process however that ends.

use std::{
    os::unix::process::CommandExt,
    process::{self, Command},
    sync::mpsc,
    thread,
};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// A running process.
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts one. The kernel binds its life to that of the thread that starts
    /// it, so that is one which stays.
    #[expect(unsafe_code, reason = "a call between fork and exec")]
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Child {
        let (started, child) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // SAFETY: one system call, which neither allocates nor locks.
            unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
            let _ = started.send(command.spawn());
            loop {
                thread::park();
            }
        });
        let child = child.recv().expect("it sends before it parks");
        match child {
            Ok(child) => Child(child),
            Err(error) => panic!("cannot start {name}: {error}; scripts/install-deps.sh test installs it"),
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it, and waits for that. A frozen one is let go on first.
    pub fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.signal(Signal::CONT);
        let _ = self.0.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
