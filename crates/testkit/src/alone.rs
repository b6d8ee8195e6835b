//! A test that has a process to itself: for what is measured of a whole
//! process, in which other tests would count as well.

use std::{env, fs, process::Command};

/// Names the test for which this process was started.
const ALONE: &str = "WHISKER_TEST_ALONE";

/// Whether this process has nothing to do but the test of this name (with its
/// modules). If not, the program is started again for it, with these variables,
/// and the test fails if that one does; so it begins with
/// `if !alone("module::name", &[]) { return; }`.
#[track_caller]
pub fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    if env::var(ALONE).is_ok_and(|name| name == test) {
        return true;
    }
    let program = env::current_exe().expect("a test is a program");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, test)
        .envs(variables.iter().copied())
        .output()
        .expect("this program can be started again");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test}, alone:\n{said}{complained}");
    false
}

/// How the memory of this process grows.
pub struct Memory {
    before_bytes: u64,
}

impl Memory {
    /// From now on.
    #[track_caller]
    pub fn watch() -> Memory {
        // Takes the mark of the highest down to what is resident (proc(5)).
        fs::write("/proc/self/clear_refs", "5").expect("the kernel keeps marks");
        Memory { before_bytes: resident("VmRSS:") }
    }

    /// The most bytes that were resident at any time since, over those before.
    #[track_caller]
    pub fn grown_bytes(&self) -> u64 {
        resident("VmHWM:").saturating_sub(self.before_bytes)
    }
}

#[track_caller]
fn resident(mark: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix(mark)).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
}
