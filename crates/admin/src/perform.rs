//! One command, done.

use std::sync::Arc;

use whisker_secrets::Secrets;
use whisker_store::{Entities, Subjects};

use crate::{Answer, Command, SecretsCommand, limits, renew, users};

/// What is administered.
#[derive(Clone)]
pub struct Parts {
    /// Users and limits.
    pub subjects: Arc<dyn Subjects>,
    /// Actions and packages, for their parameters.
    pub entities: Arc<dyn Entities>,
    /// What those are encrypted with.
    pub secrets: Arc<Secrets>,
}

/// Does what a command says. Commands read, then write: whoever performs them
/// does so one at a time.
pub async fn perform(parts: &Parts, command: Command) -> Answer {
    match command {
        Command::User(command) => users::perform(&*parts.subjects, command).await,
        Command::Limits(command) => limits::perform(&*parts.subjects, command).await,
        Command::Secrets(SecretsCommand::Renew) => renew::perform(parts).await,
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
