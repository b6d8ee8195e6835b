//! Activation records: an outcome and its circumstances, and log lines.

use serde_json::json;
use time::OffsetDateTime;
use whisker_bus::{ActivationMessage, Attempt};
use whisker_entity::{Action, Activation, MB, Millis, Parameters, Response, Status};
use whisker_sandbox::{LogLine, Logs, Stream};

use crate::{trace::Marks, words};

/// When a run began and how long it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// By the wall clock, initialisation included.
    pub start: Millis,
    /// Initialisation, if there was one, in ms.
    pub init_ms: Option<u64>,
    /// Initialisation and run, in ms.
    pub total_ms: u64,
    /// The same for traces, where they are on.
    pub marks: Marks,
}

impl Times {
    /// Of what never ran.
    pub fn none(now: Millis) -> Self {
        Self { start: now, init_ms: None, total_ms: 0, marks: Marks::default() }
    }
}

/// The record of a run, without logs.
pub(crate) fn of_run(
    message: &ActivationMessage,
    action: &Action,
    times: Times,
    timed_out: bool,
    response: Response,
) -> Activation {
    let mut annotations = Parameters::default();
    annotations.set_value("limits", json!(action.limits));
    annotations.set_value("path", format!("{}/{}", action.namespace, action.name));
    annotations.set_value("kind", action.exec.kind());
    annotations.set_value("timeout", timed_out);
    annotations.set_value("waitTime", times.start.saturating_sub(message.began));
    if let Some(init_ms) = times.init_ms {
        annotations.set_value("initTime", init_ms);
    }
    if let Some(binding) = &message.binding {
        annotations.set_value("binding", binding.to_string());
    }
    record(message, times, response, annotations, action.version)
}

/// The record of what never ran because its action is not known.
pub(crate) fn of_unknown(message: &ActivationMessage, now: Millis, response: Response) -> Activation {
    let mut annotations = Parameters::default();
    annotations.set_value("path", message.action.to_string());
    annotations.set_value("kind", "unknown");
    record(message, Times::none(now), response, annotations, message.version)
}

fn record(
    message: &ActivationMessage,
    times: Times,
    response: Response,
    mut annotations: Parameters,
    version: whisker_entity::Version,
) -> Activation {
    if message.cause.is_some() {
        annotations.set_value("causedBy", "sequence");
    }
    Activation {
        namespace: message.user.namespace.clone(),
        name: message.action.name.clone(),
        subject: message.user.subject.to_string(),
        id: message.activation,
        start: times.start,
        end: times.start + times.total_ms,
        cause: message.cause,
        response,
        logs: vec![],
        version,
        publish: false,
        annotations,
        duration: Some(times.total_ms),
    }
}

/// Log lines as records keep them, with a notice of what is missing.
pub(crate) fn log_lines(logs: Logs, limit_mb: u32, status: Status, now: Millis) -> Vec<String> {
    let mut lines: Vec<String> = logs.lines.iter().map(line).collect();
    // Not before what they follow, which is known to the microsecond.
    let time_us = logs.lines.last().map_or(0, |last| last.time_us).max(now * 1000);
    let mut notice = |text: String| lines.push(line(&LogLine { time_us, stream: Stream::Stderr, text }));
    if logs.truncated {
        notice(words::logs_truncated(u64::from(limit_mb) * MB));
    }
    if logs.incomplete {
        notice(words::LOGS_INCOMPLETE.into());
    }
    if status == Status::DeveloperError {
        notice(words::LOGS_OF_DEVELOPER_ERROR.into());
    }
    lines
}

/// The line between the log of a failed run and that of the next.
pub(crate) fn attempt_line(number: u32, attempt: &Attempt) -> String {
    let text = words::attempt(number, attempt.duration, attempt.status, &attempt.error);
    line(&LogLine { time_us: (attempt.start + attempt.duration) * 1000, stream: Stream::Stderr, text })
}

/// `TIME STREAM: TEXT`, the time 30 columns wide.
fn line(line: &LogLine) -> String {
    let nanos = i128::from(line.time_us) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z {}: {}",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.nanosecond(),
        line.stream.name(),
        line.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_700_000_000_123;

    fn logs(truncated: bool, incomplete: bool) -> Logs {
        let time_us = NOW * 1000 + 456;
        let lines = vec![LogLine { time_us, stream: Stream::Stdout, text: "hello ".into() }];
        Logs { lines, truncated, incomplete }
    }

    #[test]
    fn a_line_has_its_time_in_thirty_columns() {
        let lines = log_lines(logs(false, false), 10, Status::Success, NOW);
        assert_eq!(lines, ["2023-11-14T22:13:20.123456000Z stdout: hello "]);
        assert_eq!(lines[0].find(" stdout"), Some(30));
    }

    #[test]
    fn what_is_missing_is_said_last() {
        let lines = log_lines(logs(true, true), 1, Status::DeveloperError, NOW);
        let texts: Vec<&str> = lines.iter().map(|line| &line[31..]).collect();
        assert_eq!(
            texts,
            [
                "stdout: hello ",
                "stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes.",
                "stderr: There was an issue while collecting your logs. Data might be missing.",
                "stderr: The action did not initialize or run as expected. Log data might be missing.",
            ]
        );
    }
}
