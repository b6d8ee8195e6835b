//! Log lines as a container wrote them.

/// Which of the two standard streams a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name that log lines carry.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One line, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written (or, for what bypasses the launcher, read), in
    /// microseconds since the Unix epoch.
    pub time_us: u64,
    /// Where it was written to.
    pub stream: Stream,
    /// The text; bytes that are not UTF-8 were replaced.
    pub text: String,
}

/// What was collected for one activation.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    /// In the order in which they were written.
    pub lines: Vec<LogLine>,
    /// Whether lines beyond the limit were dropped.
    pub truncated: bool,
    /// Whether the end of the logs could not be reached.
    pub incomplete: bool,
}
