//! What follows a run that failed: another one, where the action asks for it
//! and the activation was accepted, or a dead letter.
//!
//! | the run ended | then |
//! | --- | --- |
//! | well, or nobody asked for more | its record is written |
//! | badly, and there is to be another | the message goes back to the bus, which keeps it and the failure until the next is due |
//! | badly, and that was the last | its record is written, and says how often it ran and which trigger is to hear |
//!
//! The record is what a dead letter is made of: once it is safe the bus is
//! told to keep the message for the letter instead of forgetting it. So no
//! moment of a crash loses one.
//!
//! Whose caller waits is not run again: it hears of the failure, and knows
//! better. Nor are parts of sequences and conductors, whose whole has ended by
//! then.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use whisker_bus::{ActivationMessage, Attempt, Due, Letter};
use whisker_entity::{Action, Activation, QualifiedName, Status};
use whisker_retry::{Policy, Reason, Verdict, dead_letter, decide};

use crate::{engine::Engine, record, run::Job, words};

/// Longest error that is kept of a failed run, in characters.
const ERROR_CHARS: usize = 1024;
/// Bytes of log that are kept of a failed run: the end of it.
const LOG_BYTES: usize = 16 * 1024;

/// The annotation of a record that names the trigger of its dead letter.
const DEAD_LETTER: &str = "deadLetter";
const ATTEMPTS: &str = "attempts";
const EARLIER: &str = "earlierAttempts";
const GAVE_UP: &str = "gaveUp";

/// What follows a run.
#[derive(Debug)]
pub(crate) struct Sequel {
    pub verdict: Verdict,
    /// Whether the action's annotations have anything to say of it.
    asked: bool,
    /// The trigger that hears of a failure for good.
    letter: Option<QualifiedName>,
}

impl Sequel {
    fn nothing(status: Status) -> Sequel {
        let verdict = if status == Status::Success { Verdict::Succeeded } else { Verdict::Failed(Reason::NotAsked) };
        Sequel { verdict, asked: false, letter: None }
    }

    /// Without another run, whatever was asked for: it would end no better.
    pub fn without_another(mut self) -> Sequel {
        if self.is_again() {
            self.verdict = Verdict::Failed(Reason::Outcome);
        }
        self
    }

    pub fn is_again(&self) -> bool {
        matches!(self.verdict, Verdict::Again { .. })
    }
}

impl Engine {
    /// What is to follow a run that ended so.
    pub async fn sequel(
        &self,
        message: &ActivationMessage,
        action: &Action,
        earlier: &[Attempt],
        status: Status,
    ) -> Sequel {
        let nothing = Sequel::nothing(status);
        if status == Status::Success || message.cause.is_some() {
            return nothing;
        }
        let (policy, letter) = asked(message, action);
        if (policy.is_none() && letter.is_none()) || !self.bus.is_accepted(message.activation).await {
            return nothing;
        }
        let number = u32::try_from(earlier.len() + 1).unwrap_or(u32::MAX);
        let attempt = whisker_retry::Attempt {
            activation: message.activation,
            number,
            outcome: status,
            began: message.began,
            now: self.wall(),
        };
        Sequel { verdict: decide(policy.as_ref(), &attempt), asked: true, letter }
    }

    /// Ends a run that nobody has heard of yet: no container took it.
    pub async fn end(&self, job: Job, activation: Activation) {
        let Job { message, action, earlier, .. } = &job;
        let sequel = self.sequel(message, action, earlier, activation.response.status).await;
        self.follow(job, Arc::new(activation), sequel, false).await;
    }

    /// Sees a run that ended through to what follows it: its record, or
    /// another run. `answered`: whoever waits was told.
    pub async fn follow(&self, job: Job, mut activation: Arc<Activation>, mut sequel: Sequel, answered: bool) {
        let Job { message, action: _, earlier, permit } = job;
        if let Verdict::Again { at } = sequel.verdict {
            if self.again(&message, &activation, at).await {
                return;
            }
            sequel.verdict = Verdict::Failed(Reason::NoRoom);
        }
        if sequel.asked || !earlier.is_empty() {
            tell(Arc::make_mut(&mut activation), &earlier, &sequel);
        }
        if !answered {
            self.answer(&message, &activation).await;
        }
        self.leave(&message, activation).await;
        drop(permit);
    }

    /// Has the bus keep the message for another run; `false` if it does not.
    async fn again(&self, message: &ActivationMessage, activation: &Activation, at: u64) -> bool {
        let id = message.activation;
        let after = Duration::from_millis(at.saturating_sub(self.wall()));
        // Before the bus has it: it may be delivered again at once.
        self.let_go(&[id]);
        let put_back = self.bus.retry(message, attempt_of(activation), Due { at, after }).await;
        match put_back {
            Ok(true) => {
                self.meters.retries.increment(1);
                tracing::debug!(
                    activation.id = %id,
                    transaction.id = %message.transaction,
                    action.name = %message.action,
                    after_ms = after.as_millis() as u64,
                    "A run failed and is followed by another"
                );
                let system_error = activation.response.status == Status::WhiskError;
                self.complete(message, system_error).await;
                return true;
            }
            Ok(false) => {
                tracing::warn!(activation.id = %id, action.name = %message.action, "Too many retries wait: a failed run is not followed by another");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(activation.id = %id, error, "A failed run is not followed by another, since the bus could not take note of it");
            }
        }
        self.take_up(id);
        false
    }

    /// The records of these are safe: their messages are forgotten, but for
    /// those that a trigger is to hear of.
    pub async fn bury(&self, records: &[Arc<Activation>]) -> Vec<whisker_entity::ActivationId> {
        let mut buried = Vec::new();
        for record in records {
            let Some(letter) = letter_of(record) else { continue };
            self.meters.letters.increment(1);
            if let Err(error) = self.bus.bury(record.id, letter).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(activation.id = %record.id, error, "A dead letter is not posted");
            }
            buried.push(record.id);
        }
        buried
    }
}

/// What an action's annotations ask for, as far as they can be understood:
/// another platform may have written them, without a look.
fn asked(message: &ActivationMessage, action: &Action) -> (Option<Policy>, Option<QualifiedName>) {
    let not_understood = |error: whisker_retry::Invalid| {
        tracing::warn!(action.name = %message.action, %error, "An annotation is not heeded");
    };
    let policy = Policy::of(&action.annotations).map_err(not_understood).unwrap_or_default();
    // Whoever invokes a stranger's action hands its owner nothing.
    let own = action.namespace.namespace == message.user.namespace;
    let letter = match own && !message.of_letter {
        true => dead_letter(&action.annotations, &message.user.namespace).map_err(not_understood).unwrap_or_default(),
        false => None,
    };
    (policy, letter)
}

/// What is kept of a run that is followed by another.
fn attempt_of(activation: &Activation) -> Attempt {
    let mut bytes = 0;
    let fits = |line: &&String| {
        bytes += line.len();
        bytes <= LOG_BYTES
    };
    let mut logs: Vec<String> = activation.logs.iter().rev().take_while(fits).cloned().collect();
    logs.reverse();
    let error = match error_text(activation) {
        // That one says more than is true of it.
        error if error == words::INTERRUPTED => words::INTERRUPTED_ATTEMPT.to_owned(),
        error => error,
    };
    Attempt {
        start: activation.start,
        duration: activation.duration.unwrap_or_default(),
        status: activation.response.status,
        error,
        logs,
    }
}

/// The `error` of a result: a text as it is, other JSON as it is written.
fn error_text(activation: &Activation) -> String {
    let result = activation.response.result.as_deref().map(|result| result.get()).unwrap_or_default();
    let text = match serde_json::from_str::<Value>(result) {
        Ok(Value::Object(mut members)) => match members.remove("error") {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        },
        // Numbers that only their text can hold.
        Ok(_) | Err(_) => result.to_owned(),
    };
    match text.char_indices().nth(ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Tells a record of the runs before it, and of what follows.
fn tell(activation: &mut Activation, earlier: &[Attempt], sequel: &Sequel) {
    let annotations = &mut activation.annotations;
    annotations.set_value(ATTEMPTS, earlier.len() as u64 + 1);
    if !earlier.is_empty() {
        let told = |attempt: &Attempt| {
            json!({
                "start": attempt.start,
                "duration": attempt.duration,
                "status": attempt.status.words(),
                "error": attempt.error,
            })
        };
        annotations.set_value(EARLIER, earlier.iter().map(told).collect::<Vec<_>>());
        let mut logs: Vec<String> = Vec::new();
        for (number, attempt) in (1..).zip(earlier) {
            logs.extend(attempt.logs.iter().cloned());
            logs.push(record::attempt_line(number, attempt));
        }
        logs.append(&mut activation.logs);
        activation.logs = logs;
    }
    if let Verdict::Failed(reason) = sequel.verdict {
        annotations.set_value(GAVE_UP, reason.word());
        if let Some(trigger) = &sequel.letter {
            annotations.set_value(DEAD_LETTER, format!("/{trigger}"));
        }
    }
}

/// The letter that a record owes.
pub(crate) fn letter_of(record: &Activation) -> Option<Letter> {
    let text = |key| record.annotations.get(key).and_then(Value::as_str);
    let trigger = QualifiedName::parse(text(DEAD_LETTER)?).ok()?;
    let attempts = record.annotations.get(ATTEMPTS).and_then(Value::as_u64);
    Some(Letter {
        trigger,
        status: record.response.status,
        error: error_text(record),
        attempts: attempts.and_then(|number| u32::try_from(number).ok()).unwrap_or(1),
        reason: text(GAVE_UP).unwrap_or_default().to_owned(),
        failed: record.end,
    })
}

#[cfg(test)]
mod tests {
    use whisker_bus::Attempt;
    use whisker_entity::{ActivationId, Parameters, Response, Version};

    use super::*;

    fn record(logs: Vec<String>, error: Value) -> Activation {
        Activation {
            namespace: "guest".parse().expect("a name"),
            name: "hello".parse().expect("a name"),
            subject: "guest".into(),
            id: ActivationId::new(1, 2),
            start: 1_700_000_000_000,
            end: 1_700_000_000_012,
            cause: None,
            response: Response::error(Status::ApplicationError, error),
            logs,
            version: Version::FIRST,
            publish: false,
            annotations: Parameters::default(),
            duration: Some(12),
        }
    }

    #[test]
    fn what_is_kept_of_a_failed_run_is_bounded() {
        let lines: Vec<String> = (0..1000).map(|n| format!("{n:0100}")).collect();
        let attempt = attempt_of(&record(lines.clone(), json!("ä".repeat(5000))));
        assert_eq!(attempt.error.chars().count(), ERROR_CHARS + 1);
        assert_eq!(attempt.logs, lines[lines.len() - LOG_BYTES / 100..], "the end of it");
        assert_eq!(attempt_of(&record(vec![], json!({"code": 5}))).error, r#"{"code":5}"#);
    }

    #[test]
    fn a_record_tells_the_whole_story_and_makes_its_letter() {
        let mut last = record(vec!["the last".into()], json!("no luck"));
        assert!(letter_of(&last).is_none());
        let earlier: Vec<Attempt> =
            (0..2).map(|n| attempt_of(&record(vec![format!("log {n}")], json!("no")))).collect();
        let letter = QualifiedName::parse("guest/failed").ok();
        tell(&mut last, &earlier, &Sequel { verdict: Verdict::Failed(Reason::Count), asked: true, letter });
        assert_eq!(last.annotations.get(ATTEMPTS), Some(&json!(3)));
        assert_eq!(
            last.annotations.get(EARLIER).and_then(|list| list[1]["status"].as_str()),
            Some("application error")
        );
        let line = "2023-11-14T22:13:20.012000000Z stderr: Attempt 1 ended after 12 ms with an application error: no";
        assert_eq!(last.logs[1], line);
        assert_eq!((last.logs.len(), last.logs[4].as_str()), (5, "the last"));
        let letter = letter_of(&last).expect("a letter");
        assert_eq!((letter.trigger.to_string(), letter.attempts), ("guest/failed".to_owned(), 3));
        assert_eq!((letter.error.as_str(), letter.reason.as_str()), ("no luck", "retries exhausted"));
    }
}
