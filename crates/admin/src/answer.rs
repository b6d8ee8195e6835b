//! What a command says.

use serde::{Deserialize, Serialize};

/// What a command prints, and how it ends. It may hold keys.
#[derive(Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Lines for standard output.
    pub lines: Vec<String>,
    /// Lines for standard error.
    pub complaints: Vec<String>,
    /// The exit code: 0 for success, 2 for what makes no sense, else 1; of
    /// commands for several users, how many failed.
    pub code: u8,
}

impl Answer {
    /// Success, with one line.
    pub(crate) fn line(line: impl Into<String>) -> Self {
        Self::lines(vec![line.into()])
    }

    /// Success.
    pub(crate) fn lines(lines: Vec<String>) -> Self {
        Self { lines, ..Self::default() }
    }

    /// It was not done.
    pub(crate) fn failed(complaint: impl Into<String>) -> Self {
        Self { complaints: vec![complaint.into()], code: 1, ..Self::default() }
    }

    /// It cannot be done.
    pub(crate) fn senseless(complaint: impl Into<String>) -> Self {
        Self { code: 2, ..Self::failed(complaint) }
    }
}

// Keys are what most commands are asked for.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("code", &self.code).finish_non_exhaustive()
    }
}
