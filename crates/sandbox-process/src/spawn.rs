//! Making a process inside the namespaces, groups and limits that its
//! container has, and the few other calls for which no safe wrapper exists.
//!
//! All `unsafe` code of the project is in this file.
//!
//! Why not `std::process::Command`: a child must enter a network namespace,
//! join cgroups and change its user *in that order* between fork and exec, with
//! descriptors at fixed numbers that must not meet those that `Command` keeps
//! for itself. And `fork` copies the page tables of the whole server and makes
//! every later write of it fault, which its warm calls would feel. So this is
//! what `posix_spawn` does inside: clone with `CLONE_VM | CLONE_VFORK`, on a stack
//! of its own, with the calling thread (only that one) suspended until the
//! child has become another program. As a gift, the child can say what failed
//! by writing it to memory that it shares.

#![allow(unsafe_code, reason = "the one place for it; every block says why it is sound")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use libc::{c_char, c_int, c_void};
use tokio::io::{Interest, unix::AsyncFd};

/// Everything about a child, decided beforehand: between clone and exec
/// nothing may allocate, lock or panic.
pub(crate) struct Plan<'a> {
    /// Absolute path of the program.
    pub program: CString,
    /// Its arguments, the program's own name first.
    pub arguments: Vec<CString>,
    /// Its environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// Which of our descriptors the child gets, and at which number. All
    /// others are closed.
    pub descriptors: Vec<(BorrowedFd<'a>, RawFd)>,
    /// Open `tasks` files of the version 1 cgroups to join.
    pub groups: Vec<BorrowedFd<'a>>,
    /// The version 2 cgroup to be born in, as an open folder.
    pub birthplace: Option<BorrowedFd<'a>>,
    /// The network namespace to enter.
    pub network: Option<BorrowedFd<'a>>,
    /// A folder that the child sees at this place in a mount namespace of its
    /// own, so that a user who may not walk to the folder can still use it.
    pub stage: Option<(CString, &'static CStr)>,
    /// The user and group to become, without supplementary groups.
    pub user: Option<u32>,
    /// Limits to set, soft and hard alike, where they are below what there is.
    pub limits: Vec<(u32, u64)>,
    /// Start in a session, and so a process group, of its own.
    pub new_session: bool,
    /// Be killed when the thread that spawns it ends.
    pub die_with_parent: bool,
}

/// A child that was spawned.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id, also that of its group with [`Plan::new_session`].
    pub pid: i32,
    /// Readable once it has ended.
    pub handle: OwnedFd,
}

/// Steps that can fail in a child, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Before there is a child.
    Clone,
    Network,
    Group,
    MountNamespace,
    Stage,
    User,
    Limit,
    Descriptor,
    Session,
    Exec,
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Step::Clone => "start a process",
            Step::Network => "enter the network namespace",
            Step::Group => "join the cgroup",
            Step::MountNamespace => "make a mount namespace",
            Step::Stage => "mount the container's folders",
            Step::User => "change to the container's user",
            Step::Limit => "set resource limits",
            Step::Descriptor => "hand over file descriptors",
            Step::Session => "start a session",
            Step::Exec => "execute the program",
        }
    }
}

/// A spawn that failed: which step, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {}", step.verb())]
pub(crate) struct Failed {
    pub step: Step,
    #[source]
    pub source: io::Error,
}

impl<E: Into<io::Error>> From<E> for Failed {
    fn from(source: E) -> Failed {
        Failed { step: Step::Clone, source: source.into() }
    }
}

impl Failed {
    /// Whether it was the cgroup that the child could not get into. Being born
    /// there is refused before there is a child.
    pub(crate) fn is_about_groups(&self) -> bool {
        match self.step {
            Step::Group => true,
            Step::Clone => self.source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// This failure for those who know none but the system's own.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(self.source.kind(), self)
    }
}

/// What the child reads, and where it leaves word of a failure.
struct Context<'a> {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    plan: &'a Plan<'a>,
    /// Room for the descriptors' temporary numbers.
    moved: *mut RawFd,
    /// First number above all target descriptors.
    first_free: RawFd,
    failed: Step,
    errno: c_int,
}

const STACK_BYTES: usize = 64 * 1024;

/// Starts a child, and returns once it executes its program. Blocks the
/// calling thread for a fraction of a millisecond.
pub(crate) fn spawn(plan: &Plan<'_>) -> Result<Child, Failed> {
    let words = pointers(&plan.arguments);
    let environment = pointers(&plan.environment);
    let mut moved = vec![-1; plan.descriptors.len()];
    let first_free = plan.descriptors.iter().map(|(_, target)| target + 1).max().unwrap_or(3);
    let mut context = Context {
        program: plan.program.as_ptr(),
        arguments: words.as_ptr(),
        environment: environment.as_ptr(),
        plan,
        moved: moved.as_mut_ptr(),
        first_free: first_free.max(3),
        failed: Step::Clone,
        errno: 0,
    };
    // u128 for the alignment that a stack needs.
    let mut stack = vec![0u128; STACK_BYTES / size_of::<u128>()];
    let mut handle: c_int = -1;
    let mut flags = i64::from(libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD);
    // Moving a process between cgroups of version 2 makes the kernel wait for
    // every processor to pass by, ten milliseconds and more; being born there
    // costs nothing.
    if plan.birthplace.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }

    // SAFETY: all members are numbers, for which zero means "not given".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags as u64;
    arguments.pidfd = (&raw mut handle) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.as_mut_ptr() as u64;
    arguments.stack_size = STACK_BYTES as u64;
    arguments.cgroup = plan.birthplace.map_or(0, |folder| folder.as_raw_fd() as u64);

    // SAFETY: `child` runs on `stack`, of which it needs little, and touches
    // only `context`; CLONE_VFORK keeps this thread, and so both of them,
    // in place until the child executes or exits. Signals are blocked around
    // it, so that no handler of ours runs in the child.
    let pid = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = clone3(&raw const arguments, child, (&raw mut context).cast::<c_void>());
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        pid
    };
    let pid = i32::try_from(pid).unwrap_or(-libc::EINVAL);
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid).into());
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so this is a new descriptor
    // that nobody else knows.
    let handle = unsafe { OwnedFd::from_raw_fd(handle) };
    if matches!(context.failed, Step::Clone) {
        return Ok(Child { pid, handle });
    }
    reap(&handle);
    let source = io::Error::from_raw_os_error(context.errno);
    Err(Failed { step: context.failed, source })
}

/// Not in the C library's header as an `int`; it is bit 33.
const CLONE_INTO_CGROUP: i64 = 0x2_0000_0000;

/// Calls clone3, for which the C library has no function, and runs `entry` in
/// the child. Gives the child's process id, or an error's number below zero.
///
/// # Safety
///
/// `arguments` must name a stack, `entry` must not return, and both must obey
/// what sharing memory with the parent asks of them.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(
    arguments: *const libc::clone_args,
    entry: extern "C" fn(*mut c_void) -> c_int,
    context: *mut c_void,
) -> i64 {
    let result: i64;
    // SAFETY: the parent sees a system call. The child starts after it with
    // the same registers on an empty stack whose end is aligned, and calls.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") context,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// See the other architecture's.
///
/// # Safety
///
/// As there.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(
    arguments: *const libc::clone_args,
    entry: extern "C" fn(*mut c_void) -> c_int,
    context: *mut c_void,
) -> i64 {
    let result: i64;
    // SAFETY: the parent sees a system call. The child starts after it with
    // the same registers on an empty stack whose end is aligned, and calls.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            inlateout("x0") arguments as i64 => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x8") libc::SYS_clone3,
            in("x20") context,
            in("x21") entry,
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("sandboxed processes are made on x86-64 and 64-bit ARM only");

/// Collects an ended child's status; does nothing if it runs or was collected.
pub(crate) fn reap(handle: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    // Only ECHILD is possible, which means that there is nothing to do.
    let _ = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Registers a descriptor with the current runtime.
pub(crate) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor until it is dropped,
    // which the registration does itself, after it has taken itself back.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

/// Waits until a child has ended, and collects its status.
pub(crate) fn wait(handle: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    let _ = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED);
}

/// Kills a child that has no handle any more, by its number, and waits until
/// it has ended. Only for one that nobody else waits for: until then the number
/// is its own.
pub(crate) fn end(pid: i32) {
    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
    let Some(pid) = Pid::from_raw(pid) else { return };
    // It leads a group only where it is not isolated.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = kill_process(pid, Signal::KILL);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
}

/// Asks the scheduler for short turns for the calling thread, and for every
/// process it makes from now on, and theirs.
///
/// What has a turn keeps it, whoever wakes up meanwhile, and a turn is as long
/// as a tick of the clock by default, 4 ms: as much as forty warm calls. A short
/// turn ends as soon as another wants the processor. What computes for long is
/// not interrupted more often than at ticks, as ever. Kernels before 6.12 know no
/// lengths of turns and ignore it.
pub(crate) fn take_short_turns() -> io::Result<()> {
    /// The shortest that the kernel takes, in nanoseconds.
    const TURN_NS: u64 = 100_000;
    // SAFETY: numbers, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0);
    // SAFETY: the kernel writes no more than `size` bytes there, which is what the
    // structure has, and both are alive.
    if unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.sched_runtime = TURN_NS;
    // SAFETY: the kernel reads what it has written, with another number in it.
    if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Moves the calling thread, which should end soon, into a new network
/// namespace, and returns a handle of that.
pub(crate) fn new_network_namespace() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are involved, and a network namespace is a matter
    // of this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// The child's life between clone and exec.
extern "C" fn child(context: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a `Context` and waits, so nothing else uses it.
    let context = unsafe { &mut *context.cast::<Context<'_>>() };
    // SAFETY: this is the child of `spawn`.
    if let Err((step, errno)) = unsafe { become_program(context) } {
        context.failed = step;
        context.errno = errno;
    }
    // SAFETY: ends this process alone, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// Runs the steps; returns only when one failed.
///
/// # Safety
///
/// Only for the child of [`spawn`]. It shares memory with its parent: system
/// calls alone are allowed here, and those on credentials must be raw, since
/// the C library's would also order the parent's threads to follow.
unsafe fn become_program(context: &Context<'_>) -> Result<(), (Step, c_int)> {
    let plan = context.plan;
    // SAFETY: every pointer below comes from `Context` and `Plan`, which live
    // on in the suspended parent, or is a literal.
    unsafe {
        // Dispositions are this process's own copy. A handler of the server
        // must not run here, and an ignored SIGPIPE would outlive exec.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=31 {
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }

        if let Some(network) = plan.network {
            check(Step::Network, libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET))?;
        }
        for group in &plan.groups {
            let written = libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1);
            check(Step::Group, c_int::try_from(written).unwrap_or(-1))?;
        }
        if let Some((folder, place)) = &plan.stage {
            check(Step::MountNamespace, libc::unshare(libc::CLONE_NEWNS))?;
            let (none, slave) = (ptr::null(), libc::MS_REC | libc::MS_SLAVE);
            check(Step::Stage, libc::mount(none, c"/".as_ptr(), none, slave, ptr::null()))?;
            let bind = libc::MS_BIND;
            check(Step::Stage, libc::mount(folder.as_ptr(), place.as_ptr(), none, bind, ptr::null()))?;
        }
        if let Some(user) = plan.user {
            let none = ptr::null::<libc::gid_t>();
            check(Step::User, raw(libc::syscall(libc::SYS_setgroups, 0, none)))?;
            check(Step::User, raw(libc::syscall(libc::SYS_setresgid, user, user, user)))?;
            check(Step::User, raw(libc::syscall(libc::SYS_setresuid, user, user, user)))?;
        }

        // First out of the way of all targets, then to their places.
        for (index, (source, _)) in plan.descriptors.iter().enumerate() {
            let copy = libc::fcntl(source.as_raw_fd(), libc::F_DUPFD_CLOEXEC, context.first_free);
            check(Step::Descriptor, copy)?;
            *context.moved.add(index) = copy;
        }
        for (index, (_, target)) in plan.descriptors.iter().enumerate() {
            check(Step::Descriptor, libc::dup2(*context.moved.add(index), *target))?;
        }
        let rest = u32::try_from(context.first_free).unwrap_or(3);
        let close = libc::syscall(libc::SYS_close_range, rest, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        check(Step::Descriptor, raw(close))?;

        // Not before: until `exec` all that the server has open is open here too, and
        // may be more than the program is to have.
        for (resource, value) in &plan.limits {
            let limit = libc::rlimit64 { rlim_cur: *value, rlim_max: *value };
            let mut now: libc::rlimit64 = std::mem::zeroed();
            let get = libc::syscall(libc::SYS_prlimit64, 0, *resource, ptr::null::<u8>(), &raw mut now);
            check(Step::Limit, c_int::try_from(get).unwrap_or(-1))?;
            if now.rlim_max > *value {
                let set = libc::syscall(libc::SYS_prlimit64, 0, *resource, &raw const limit, ptr::null::<u8>());
                check(Step::Limit, c_int::try_from(set).unwrap_or(-1))?;
            }
        }

        if plan.new_session {
            check(Step::Session, libc::setsid())?;
        }
        if plan.die_with_parent {
            check(Step::Session, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        }
        libc::umask(0o022);
        check(Step::Session, libc::chdir(c"/".as_ptr()))?;
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        check(Step::Exec, libc::execve(context.program, context.arguments, context.environment))
    }
}

fn raw(result: i64) -> c_int {
    if result < 0 { -1 } else { 0 }
}

fn check(step: Step, result: c_int) -> Result<(), (Step, c_int)> {
    if result >= 0 {
        return Ok(());
    }
    // SAFETY: the pointer is always valid. The child shares it with its
    // parent, whose thread is suspended.
    Err((step, unsafe { *libc::__errno_location() }))
}
