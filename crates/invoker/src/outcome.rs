//! How a run ended, as its caller is told (`ActivationResult.scala`).

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use whisker_entity::{Response, Status};
use whisker_pool::End;
use whisker_sandbox::{Ended, InitEnd, RunEnd};

use crate::words;

/// What becomes of an activation and of its container.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub response: Response,
    /// Whether the container may run again.
    pub end: End,
    /// Whether the time limit was the reason.
    pub timed_out: bool,
}

impl Outcome {
    /// An error in our words; `size` stays unknown, as with OpenWhisk.
    pub fn error(status: Status, error: &str) -> Self {
        let response = Response { size: None, ..Response::error(status, error) };
        Self { response, end: End::Unfit, timed_out: false }
    }

    /// The platform failed.
    pub fn whisk_error(error: &str) -> Self {
        Self::error(Status::WhiskError, error)
    }

    fn developer_error(error: &str) -> Self {
        Self::error(Status::DeveloperError, error)
    }

    /// What the runtime gave as `error`.
    fn reported(error: Value) -> Self {
        let response = Response::error(Status::DeveloperError, error);
        let size = response.result.as_deref().map(|result| characters(result.get()));
        Self { response: Response { size, ..response }, end: End::Unfit, timed_out: false }
    }

    /// `None` if the container is ready to run.
    pub fn of_init(end: InitEnd, limit_ms: u64) -> Option<Self> {
        Some(match end {
            InitEnd::Ready => return None,
            InitEnd::Failed(error) => Self::reported(error),
            InitEnd::Nonsense(text) => Self::developer_error(&words::invalid_init(&text)),
            InitEnd::Ended(Ended::TimedOut) => {
                Self { timed_out: true, ..Self::developer_error(&words::timed_out(limit_ms, true)) }
            }
            InitEnd::Ended(Ended::Exited) => Self::developer_error(words::ABNORMAL_INIT),
            InitEnd::Ended(Ended::OutOfMemory) => Self::developer_error(words::OUT_OF_MEMORY),
        })
    }

    pub fn of_run(end: RunEnd, limit_ms: u64, result_limit_bytes: u64) -> Self {
        match end {
            RunEnd::Answered(answer) => Self::answered(answer),
            RunEnd::Failed(error) => Self::reported(error),
            RunEnd::Nonsense(text) => {
                let mut outcome = Self::developer_error(&words::invalid_result(&text));
                outcome.response.size = Some(characters(&text));
                outcome
            }
            RunEnd::TooLong { length_bytes, beginning } => {
                let words = words::too_long(length_bytes, result_limit_bytes, &beginning);
                let mut outcome = Self::error(Status::ApplicationError, &words);
                outcome.response.size = Some(length_bytes);
                Self { end: End::Fit, ..outcome }
            }
            RunEnd::Ended(Ended::TimedOut) => {
                Self { timed_out: true, ..Self::developer_error(&words::timed_out(limit_ms, false)) }
            }
            RunEnd::Ended(Ended::Exited) => Self::developer_error(words::ABNORMAL_RUN),
            RunEnd::Ended(Ended::OutOfMemory) => Self::developer_error(words::OUT_OF_MEMORY),
        }
    }

    /// An object or array. Of one with an `error` member only that survives.
    fn answered(answer: Box<RawValue>) -> Self {
        let size = Some(characters(answer.get()));
        let (status, result) = match error_of(answer.get()) {
            None => (Status::Success, Some(answer)),
            Some(error) => {
                (Status::ApplicationError, RawValue::from_string(format!("{{\"error\":{}}}", error.get())).ok())
            }
        };
        Self { response: Response { status, result, size }, end: End::Fit, timed_out: false }
    }
}

/// Length as the JVM counts: characters beyond the basic plane are two.
fn characters(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.encode_utf16().count() as u64 }
}

/// The value of the top-level member `error`, the last if there are several;
/// `null` and `false` are values too.
fn error_of(answer: &str) -> Option<&RawValue> {
    // Most answers say so without being parsed: a key can be spelled with the
    // letters or with escapes.
    if !answer.starts_with('{') || !(answer.contains("\"error\"") || answer.contains("\\u")) {
        return None;
    }
    serde_json::from_str::<ErrorMember<'_>>(answer).ok()?.0
}

struct ErrorMember<'a>(Option<&'a RawValue>);

impl<'de> Deserialize<'de> for ErrorMember<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Search;
        impl<'de> Visitor<'de> for Search {
            type Value = ErrorMember<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut error = None;
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    if key == "error" {
                        error = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(ErrorMember(error))
            }
        }
        deserializer.deserialize_map(Search)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Status, result, size and whether the container stays.
    type Told = (Status, String, Option<u64>, bool);

    fn told(outcome: Outcome) -> Told {
        let Response { status, result, size } = outcome.response;
        (status, result.expect("a result").get().to_owned(), size, outcome.end == End::Fit)
    }

    #[track_caller]
    fn check(end: RunEnd, status: Status, result: &str, size: Option<u64>, fit: bool) {
        assert_eq!(told(Outcome::of_run(end, 500, 20)), (status, result.to_owned(), size, fit));
    }

    fn answered(text: &str) -> RunEnd {
        RunEnd::Answered(RawValue::from_string(text.into()).expect("JSON"))
    }

    #[test]
    fn answers_are_passed_on_as_they_are_written() {
        check(answered(r#"{"n": 1e400}"#), Status::Success, r#"{"n": 1e400}"#, Some(12), true);
        check(answered("[1,{\"error\":2}]"), Status::Success, "[1,{\"error\":2}]", Some(15), true);
        check(answered(r#"{"a":{"error":1}}"#), Status::Success, r#"{"a":{"error":1}}"#, Some(17), true);
        check(answered(r#"{"a":"😀"}"#), Status::Success, r#"{"a":"😀"}"#, Some(10), true);
    }

    #[test]
    fn only_the_error_survives_of_an_application_error() {
        for (answer, result) in [
            (r#"{"a":1,"error":"no luck"}"#, r#"{"error":"no luck"}"#),
            (r#"{"error":null}"#, r#"{"error":null}"#),
            (r#"{"error":false,"x":{}}"#, r#"{"error":false}"#),
            (r#"{"\u0065rror":1e400}"#, r#"{"error":1e400}"#),
            (r#"{"error":1,"error":2}"#, r#"{"error":2}"#),
        ] {
            check(answered(answer), Status::ApplicationError, result, Some(answer.len() as u64), true);
        }
    }

    #[test]
    fn what_a_runtime_reports_is_a_developer_error_with_its_size() {
        let error = json!("An error has occurred: Error: boom");
        let result = r#"{"error":"An error has occurred: Error: boom"}"#;
        check(RunEnd::Failed(error.clone()), Status::DeveloperError, result, Some(46), false);
        let outcome = Outcome::of_init(InitEnd::Failed(error), 500).expect("an outcome");
        assert_eq!(told(outcome), (Status::DeveloperError, result.to_owned(), Some(46), false));
    }

    #[test]
    fn nonsense_long_answers_and_ends() {
        let error = |text: &str| json!({ "error": text }).to_string();
        let invalid = "The action did not produce a valid JSON or JSON Array response";
        for (end, status, text, size, fit) in [
            (RunEnd::Nonsense("null".into()), Status::DeveloperError, format!("{invalid}: null"), Some(4), false),
            (RunEnd::Nonsense(String::new()), Status::DeveloperError, format!("{invalid}."), Some(0), false),
            (
                RunEnd::TooLong { length_bytes: 30, beginning: "{\"a".into() },
                Status::ApplicationError,
                "The action produced a response that exceeded the allowed length: 30 > 20 bytes. \
                 The truncated response was: {\"a"
                    .into(),
                Some(30),
                true,
            ),
            (
                RunEnd::Ended(Ended::TimedOut),
                Status::DeveloperError,
                "The action exceeded its time limits of 500 milliseconds.".into(),
                None,
                false,
            ),
            (RunEnd::Ended(Ended::Exited), Status::DeveloperError, words::ABNORMAL_RUN.into(), None, false),
            (RunEnd::Ended(Ended::OutOfMemory), Status::DeveloperError, words::OUT_OF_MEMORY.into(), None, false),
        ] {
            check(end, status, &error(&text), size, fit);
        }
    }

    #[test]
    fn an_init_that_ends_badly_says_so() {
        for (ended, text, timed_out) in [
            (Ended::TimedOut, "The action exceeded its time limits of 500 milliseconds during initialization.", true),
            (Ended::Exited, words::ABNORMAL_INIT, false),
            (Ended::OutOfMemory, words::OUT_OF_MEMORY, false),
        ] {
            let outcome = Outcome::of_init(InitEnd::Ended(ended), 500).expect("an outcome");
            assert_eq!(outcome.timed_out, timed_out);
            assert_eq!(told(outcome).1, json!({ "error": text }).to_string());
        }
        assert!(Outcome::of_init(InitEnd::Ready, 500).is_none());
    }
}
