//! One command, done.

use whisker_store::Subjects;

use crate::{Answer, Command, limits, users};

/// Does what a command says. Commands read, then write: whoever performs them
/// does so one at a time.
pub async fn perform(subjects: &dyn Subjects, command: Command) -> Answer {
    match command {
        Command::User(command) => users::perform(subjects, command).await,
        Command::Limits(command) => limits::perform(subjects, command).await,
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
