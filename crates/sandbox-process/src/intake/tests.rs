#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;
use whisker_sandbox::testing::contract::activation;

use super::*;

const LIMIT: ResultLimit = ResultLimit { limit_bytes: 20, truncation_bytes: 6 };

fn end_of(frames: &str) -> Option<RunEnd> {
    let mut intake = Intake::new(1000);
    intake.expect_run(activation(1), LIMIT);
    intake.frames(frames.replace("ID", &activation(1).to_string()).as_bytes());
    intake.take_run(activation(1), None)
}

fn texts(logs: &Logs) -> Vec<&str> {
    logs.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn a_run_ends_as_its_frame_says() {
    let answered = |frames| match end_of(frames) {
        Some(RunEnd::Answered(raw)) => raw.get().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answered("R ID {\"a\":1}\n"), "{\"a\":1}");
    assert_eq!(answered("R ID [1]\n"), "[1]");
    assert_eq!(answered("{\"bare\":1}\n"), "{\"bare\":1}");
    assert!(matches!(end_of("F ID {\"error\":\"x\"}\n"), Some(RunEnd::Failed(x)) if x == json!("x")));
    assert!(matches!(end_of("R ID 17\n"), Some(RunEnd::Nonsense(text)) if text == "17"));
    assert!(matches!(end_of("R ID {\"a\n"), Some(RunEnd::Nonsense(text)) if text == "{\"a"));
    assert!(matches!(end_of("rubbish\n"), Some(RunEnd::Nonsense(text)) if text == "rubbish"));
    assert!(end_of("R 00000000000000000000000000000002 {}\n").is_none(), "another's answer");
}

#[test]
fn a_long_result_is_cut_between_characters() {
    let end = end_of("R ID {\"aéé\":\"this is far too long\"}\n");
    let Some(RunEnd::TooLong { length_bytes, beginning }) = end else { panic!("{end:?}") };
    assert_eq!(length_bytes, 32);
    assert_eq!(beginning, "{\"aé");
}

#[test]
fn only_the_first_answer_counts() {
    let end = end_of("R ID {\"a\":1}\nR ID {\"a\":2}\n");
    assert!(matches!(end, Some(RunEnd::Answered(raw)) if raw.get() == "{\"a\":1}"));
}

#[test]
fn a_container_that_talks_unasked_is_not_heard() {
    let mut intake = Intake::new(1000);
    intake.frames(format!("R {} {{}}\n", activation(1)).as_bytes());
    intake.frames(format!("O {} 5 text\n", activation(1)).as_bytes());
    intake.frames(b"I {\"ok\":true}\n");
    intake.raw(Stream::Stdout, b"text\n", 5);
    intake.expect_run(activation(1), LIMIT);
    assert!(intake.take_run(activation(1), None).is_none());
    assert!(intake.take_init(None).is_none());
    assert!(intake.take_logs(activation(1), 1000, 0).lines.is_empty());
}

#[test]
fn lines_past_the_launcher_belong_to_the_run_under_way() {
    let mut intake = Intake::new(10_000);
    intake.expect_run(activation(1), LIMIT);
    intake.raw(Stream::Stdout, b"one\ntw", 5);
    intake.raw(Stream::Stderr, b"err\n", 6);
    intake.raw(Stream::Stdout, b"o\nunfinished", 7);
    let logs = intake.take_logs(activation(1), 1000, 8);
    assert_eq!(texts(&logs), ["one", "err", "two", "unfinished"]);
    intake.raw(Stream::Stdout, b" nobody's\n", 9);
    intake.expect_run(activation(2), LIMIT);
    assert!(intake.take_logs(activation(2), 1000, 9).lines.is_empty());
}

#[test]
fn raw_lines_without_end_are_cut_into_pieces() {
    let mut intake = Intake::new(1 << 20);
    intake.expect_run(activation(1), LIMIT);
    intake.raw(Stream::Stdout, &[b'x'; 40_000], 5);
    let logs = intake.take_logs(activation(1), 1 << 20, 5);
    let lengths: Vec<_> = logs.lines.iter().map(|line| line.text.len()).collect();
    assert_eq!(lengths, [RAW_LINE_BYTES, RAW_LINE_BYTES, 40_000 - 2 * RAW_LINE_BYTES]);
}

#[test]
fn a_flood_of_lines_is_cut_at_the_cap() {
    let mut intake = Intake::new(1000);
    intake.expect_run(activation(1), LIMIT);
    for _ in 0..10_000 {
        intake.frames(format!("O {} 5 flood\n", activation(1)).as_bytes());
        intake.raw(Stream::Stderr, b"flood\nflood\n", 5);
    }
    intake.frames(format!("R {} {{}}\n", activation(1)).as_bytes());
    assert!(intake.take_run(activation(1), None).is_some(), "the answer is still heard");
    let logs = intake.take_logs(activation(1), 1 << 20, 5);
    assert!(logs.truncated);
    assert!(logs.lines.len() < 200, "{}", logs.lines.len());
}

#[test]
fn an_init_is_good_or_says_why() {
    let end = |answer: &str| {
        let mut intake = Intake::new(1000);
        intake.expect_init(activation(1));
        intake.frames(answer.as_bytes());
        match intake.take_init(None) {
            Some(InitEnd::Ready) => Ok(()),
            Some(InitEnd::Failed(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end("I {\"ok\":true}\n"), Ok(()));
    assert_eq!(end("{\"ok\":true}\n"), Ok(()));
    assert_eq!(end("I {\"error\":{\"a\":1}}\n"), Err(json!({ "a": 1 })));
    assert_eq!(end("I no JSON\n"), Err(json!("no JSON")));
    assert_eq!(end("Traceback\n"), Err(json!("Traceback")));
}
