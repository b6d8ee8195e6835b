//! What every backend promises, as test functions over `dyn Sandbox`.
//!
//! A backend's test file names its [`Subject`] once and lets
//! [`sandbox_contract!`](crate::sandbox_contract) write one test for each
//! function. User code is part of the subject, since a promise such as "a run
//! that hangs ends at its deadline" needs code that hangs, in a language that
//! the backend has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tokio::time;
use whisker_entity::ActivationId;

use super::{Act, Event};
use crate::{Code, Container, Ended, Error, Init, InitEnd, Run, RunEnd, Sandbox, Start, Stream};

/// Longer than any step of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A backend under test.
#[derive(Clone)]
pub struct Subject {
    /// The backend.
    pub sandbox: Arc<dyn Sandbox>,
    /// The runtime kind in which the programs are written.
    pub kind: String,
    /// Memory in MB that every program but `hogs` is content with.
    pub memory_mb: u32,
    /// User code.
    pub programs: Programs,
}

/// User code for the tests, in one language.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Answers its argument.
    pub echo: Code,
    /// Sleeps `ms` milliseconds without holding up other runs, then answers its argument.
    pub sleeps: Code,
    /// Writes `out N` to standard output and `err N` to standard error, for N
    /// from 0 up to its argument's `lines`, then answers its argument.
    pub prints: Code,
    /// Throws when run.
    pub throws: Code,
    /// Cannot be loaded.
    pub broken: Code,
    /// Never answers.
    pub hangs: Code,
    /// Never finishes loading.
    pub hangs_in_init: Code,
    /// Ends its process when run.
    pub exits: Code,
    /// Takes memory until it is stopped.
    pub hogs: Code,
    /// Answers `{"long": "xxx…"}` with `length` letters.
    pub long: Code,
}

impl Programs {
    /// The programs of the default fake: code that names its behaviour.
    pub fn fake() -> Programs {
        let code = |name: &str| Code::Text(name.into());
        Programs {
            echo: code("echo"),
            sleeps: code("sleeps"),
            prints: code("prints"),
            throws: code("throws"),
            broken: code("broken"),
            hangs: code("hangs"),
            hangs_in_init: code("hangs in init"),
            exits: code("exits"),
            hogs: code("hogs"),
            long: code("long"),
        }
    }
}

/// The behaviours that [`Programs::fake`] names; any other code echoes.
pub(super) fn fake_program(event: Event<'_>) -> Act {
    let (run, code) = match event {
        Event::Init(Init { code: Code::Text(code), .. }) => {
            return match &**code {
                "broken" => Act::fails("does not load"),
                "hangs in init" => Act::hangs(),
                _ => Act::echo(),
            };
        }
        Event::Init(_) => return Act::echo(),
        Event::Run { run, code, .. } => (run, code),
    };
    let argument: Value = serde_json::from_str(run.value.get()).unwrap_or_default();
    let number = |name: &str| argument[name].as_u64().unwrap_or_default();
    match code {
        "sleeps" => Act::echo().after(Duration::from_millis(number("ms"))),
        "prints" => (0..number("lines"))
            .fold(Act::echo(), |act, n| act.prints(format!("out {n}")).complains(format!("err {n}"))),
        "throws" => Act::fails("thrown"),
        "hangs" => Act::hangs(),
        "exits" => Act::exits(),
        "hogs" => Act::exhausts_memory(),
        "long" => {
            let length = usize::try_from(number("length")).unwrap_or_default();
            Act::answers(json!({ "long": "x".repeat(length) }).to_string())
        }
        _ => Act::echo(),
    }
}

/// Writes one test for each promise, as in
/// `sandbox_contract!([tokio::test] subject());` where `subject()` is a future
/// of a fresh [`Subject`](crate::testing::Subject).
#[macro_export]
macro_rules! sandbox_contract {
    ($attribute:tt $subject:expr) => {
        $crate::sandbox_contract!(@each $attribute $subject;
            answers_what_the_code_answers,
            runs_again_and_again,
            gives_every_activation_its_own_lines,
            cuts_logs_at_the_limit,
            reports_what_user_code_throws,
            reports_code_that_does_not_load,
            ends_a_run_at_its_deadline,
            ends_an_init_at_its_deadline,
            notices_an_exit,
            notices_exhausted_memory,
            keeps_only_the_beginning_of_a_long_result,
            runs_after_pause_and_resume,
            overlaps_runs_of_a_concurrent_container,
            is_gone_once_destroyed,
            destroys_under_a_run,
        );
    };
    (@each $attribute:tt $subject:expr; $($name:ident,)*) => {$(
        # $attribute
        async fn $name() {
            $crate::testing::contract::$name($subject.await).await;
        }
    )*};
}

impl Subject {
    async fn start(&self, concurrent: bool) -> Arc<dyn Container> {
        let start = Start { kind: self.kind.clone(), memory_mb: self.memory_mb, concurrent };
        self.sandbox.start(start).await.expect("a container starts")
    }

    async fn loaded(&self, code: &Code) -> Arc<dyn Container> {
        let container = self.start(false).await;
        let end = container.init(init(1, code), PATIENCE).await.expect("init is heard");
        assert!(matches!(end, InitEnd::Ready), "init ended as {end:?}");
        container
    }
}

/// An activation id for tests.
pub fn activation(number: u64) -> ActivationId {
    format!("{number:032x}").parse().expect("32 hex digits are an activation id")
}

/// An init of `code` on behalf of `activation(number)`.
pub fn init(number: u64, code: &Code) -> Init {
    Init {
        activation: activation(number),
        name: "tested".into(),
        main: "main".into(),
        code: code.clone(),
        code_hash: None,
        env: BTreeMap::from([("__OW_ACTION_NAME".to_owned(), "/guest/tested".to_owned())]),
    }
}

/// A run with `argument` as `activation(number)`.
pub fn run(number: u64, argument: &Value) -> Run {
    let value = RawValue::from_string(argument.to_string()).expect("a value prints as JSON");
    Run {
        activation: activation(number),
        value: value.into(),
        context: vec![
            ("namespace", "guest".to_owned()),
            ("action_name", "/guest/tested".to_owned()),
            ("activation_id", activation(number).to_string()),
        ],
        result_limit_bytes: 1 << 20,
        truncation_bytes: 1 << 10,
    }
}

/// The answer of a run that must have given one.
pub fn answer(end: Result<RunEnd, Error>) -> Value {
    match end {
        Ok(RunEnd::Answered(raw)) => serde_json::from_str(raw.get()).expect("an answer is JSON"),
        other => panic!("no answer but {other:?}"),
    }
}

/// A run answers what user code made of its argument.
pub async fn answers_what_the_code_answers(subject: Subject) {
    let container = subject.loaded(&subject.programs.echo).await;
    let argument = json!({ "name": "Zoë", "deep": [1, { "x": null }], "line": "a\nb" });
    assert_eq!(answer(container.run(run(1, &argument), PATIENCE).await), argument);
    container.destroy().await;
}

/// A container runs any number of times.
pub async fn runs_again_and_again(subject: Subject) {
    let container = subject.loaded(&subject.programs.echo).await;
    for number in 1..50 {
        let argument = json!({ "n": number });
        assert_eq!(answer(container.run(run(number, &argument), PATIENCE).await), argument);
        let logs = container.logs(activation(number), 1 << 20).await;
        assert!(!logs.truncated && !logs.incomplete, "{logs:?}");
    }
    container.destroy().await;
}

/// Lines come back in order, with their stream, for the run that wrote them.
pub async fn gives_every_activation_its_own_lines(subject: Subject) {
    let container = subject.loaded(&subject.programs.prints).await;
    for number in 1..4 {
        let ended = container.run(run(number, &json!({ "lines": number })), PATIENCE).await;
        answer(ended);
        let logs = container.logs(activation(number), 1 << 20).await;
        assert!(!logs.truncated && !logs.incomplete, "{logs:?}");
        for (stream, word) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
            let texts = logs.lines.iter().filter(|line| line.stream == stream);
            let texts: Vec<_> = texts.map(|line| line.text.clone()).collect();
            let expected: Vec<_> = (0..number).map(|n| format!("{word} {n}")).collect();
            assert_eq!(texts, expected);
        }
    }
    container.destroy().await;
}

/// What a backend may count against the limit for each line, besides its text.
const MOST_FOR_A_LINE: usize = 128;

/// No more than the limit is kept, nor much less, and the cut is told.
pub async fn cuts_logs_at_the_limit(subject: Subject) {
    let container = subject.loaded(&subject.programs.prints).await;
    answer(container.run(run(1, &json!({ "lines": 10_000 })), PATIENCE).await);
    let logs = container.logs(activation(1), 1000).await;
    assert!(logs.truncated);
    let length: usize = logs.lines.iter().map(|line| line.text.len()).sum();
    assert!(length <= 1000, "{length} bytes were kept");
    let counted = length + (logs.lines.len() + 1) * MOST_FOR_A_LINE;
    assert!(counted >= 1000, "only {length} bytes in {} lines were kept", logs.lines.len());

    // The next run starts afresh.
    answer(container.run(run(2, &json!({ "lines": 1 })), PATIENCE).await);
    let logs = container.logs(activation(2), 1000).await;
    assert_eq!(logs.lines.len(), 2, "{logs:?}");
    container.destroy().await;
}

/// User code that throws is a value, not an error of the platform. Whether it
/// is the developer's error or the application's own, each language of
/// OpenWhisk sees in its own way.
pub async fn reports_what_user_code_throws(subject: Subject) {
    let container = subject.loaded(&subject.programs.throws).await;
    let end = container.run(run(1, &json!({})), PATIENCE).await;
    match end {
        Ok(RunEnd::Failed(_)) => {}
        end => assert!(answer(end).get("error").is_some()),
    }
    container.destroy().await;
}

/// So is code that cannot be loaded.
pub async fn reports_code_that_does_not_load(subject: Subject) {
    let container = subject.start(false).await;
    let end = container.init(init(1, &subject.programs.broken), PATIENCE).await;
    assert!(matches!(end, Ok(InitEnd::Failed(_))), "{end:?}");
    container.destroy().await;
}

/// A run that outlives its deadline ends there, not later.
pub async fn ends_a_run_at_its_deadline(subject: Subject) {
    let container = subject.loaded(&subject.programs.hangs).await;
    let started = time::Instant::now();
    let deadline = Duration::from_millis(300);
    // The code would run for ever: whoever waits longer does not answer at all.
    let end = time::timeout(PATIENCE, container.run(run(1, &json!({})), deadline)).await.expect("the deadline holds");
    assert!(matches!(end, Ok(RunEnd::Ended(Ended::TimedOut))), "{end:?}");
    assert!(started.elapsed() >= deadline, "took {:?}", started.elapsed());
    let rest = async {
        container.logs(activation(1), 1000).await;
        container.destroy().await;
    };
    time::timeout(PATIENCE, rest).await.expect("its container ends");
}

/// The same for an init.
pub async fn ends_an_init_at_its_deadline(subject: Subject) {
    let container = subject.start(false).await;
    let code = init(1, &subject.programs.hangs_in_init);
    let end = container.init(code, Duration::from_millis(500)).await;
    assert!(matches!(end, Ok(InitEnd::Ended(Ended::TimedOut))), "{end:?}");
    container.destroy().await;
}

/// A process that ends leaves its run with that, and the container dead.
pub async fn notices_an_exit(subject: Subject) {
    let container = subject.loaded(&subject.programs.exits).await;
    let end = container.run(run(1, &json!({})), PATIENCE).await;
    assert!(matches!(end, Ok(RunEnd::Ended(Ended::Exited))), "{end:?}");
    time::timeout(PATIENCE, container.died()).await.expect("the death is announced");
    let end = container.run(run(2, &json!({})), PATIENCE).await;
    assert!(matches!(end, Err(Error::Gone)), "{end:?}");
    container.destroy().await;
}

/// Running out of memory is told apart from an exit.
pub async fn notices_exhausted_memory(subject: Subject) {
    let container = subject.loaded(&subject.programs.hogs).await;
    let end = container.run(run(1, &json!({})), PATIENCE).await;
    assert!(matches!(end, Ok(RunEnd::Ended(Ended::OutOfMemory))), "{end:?}");
    container.destroy().await;
}

/// A result over the limit comes as its length and its beginning.
pub async fn keeps_only_the_beginning_of_a_long_result(subject: Subject) {
    let container = subject.loaded(&subject.programs.long).await;
    let end = container.run(run(1, &json!({ "length": 2 << 20 })), PATIENCE).await;
    match end {
        Ok(RunEnd::TooLong { length_bytes, beginning }) => {
            assert!(length_bytes > 2 << 20, "{length_bytes}");
            assert_eq!(beginning.len(), 1 << 10);
            assert!(beginning.starts_with('{'), "{beginning}");
        }
        other => panic!("{other:?}"),
    }
    // The rest of it is no part of the next answer.
    let end = container.run(run(2, &json!({ "length": 3 })), PATIENCE).await;
    assert_eq!(answer(end), json!({ "long": "xxx" }));
    container.destroy().await;
}

/// A thawed container runs as if nothing had been.
pub async fn runs_after_pause_and_resume(subject: Subject) {
    let container = subject.loaded(&subject.programs.echo).await;
    for number in 1..4 {
        container.pause().await.expect("it can be paused");
        container.resume().await.expect("it can be resumed");
        let argument = json!({ "n": number });
        assert_eq!(answer(container.run(run(number, &argument), PATIENCE).await), argument);
    }
    container.pause().await.expect("it can be paused");
    time::timeout(PATIENCE, container.destroy()).await.expect("a paused container can be destroyed");
}

/// Runs of a concurrent container are under way at once, and keep their answers apart.
pub async fn overlaps_runs_of_a_concurrent_container(subject: Subject) {
    let container = subject.start(true).await;
    let end = container.init(init(1, &subject.programs.sleeps), PATIENCE).await;
    assert!(matches!(end, Ok(InitEnd::Ready)), "{end:?}");
    // These hold everything up that comes after them, unless runs overlap.
    let long = (1..=5).map(|number| {
        let container = container.clone();
        let argument = json!({ "ms": 10 * PATIENCE.as_millis(), "n": number });
        tokio::spawn(async move { container.run(run(number, &argument), 10 * PATIENCE).await })
    });
    let long: Vec<_> = long.collect();
    for round in 1..=5 {
        let short = (1..=5).map(|number| {
            let number = 10 * round + number;
            let container = container.clone();
            tokio::spawn(async move {
                let argument = json!({ "ms": 20, "n": number });
                assert_eq!(answer(container.run(run(number, &argument), PATIENCE).await), argument);
            })
        });
        for run in short.collect::<Vec<_>>() {
            run.await.expect("the run is answered");
        }
    }
    assert!(long.iter().all(|run| !run.is_finished()), "they sleep for longer than this test takes");
    container.destroy().await;
    for run in long {
        let end = run.await.expect("without panic");
        assert!(matches!(end, Ok(RunEnd::Ended(Ended::Exited)) | Err(Error::Gone)), "{end:?}");
    }
}

/// A destroyed container stays destroyed, and says so.
pub async fn is_gone_once_destroyed(subject: Subject) {
    let container = subject.loaded(&subject.programs.echo).await;
    container.destroy().await;
    container.destroy().await;
    time::timeout(PATIENCE, container.died()).await.expect("destroyed is dead");
    let end = container.run(run(1, &json!({})), PATIENCE).await;
    assert!(matches!(end, Err(Error::Gone)), "{end:?}");
    assert!(matches!(container.pause().await, Err(Error::Gone)));
}

/// A run that is under way when its container is destroyed ends, badly.
pub async fn destroys_under_a_run(subject: Subject) {
    let container = subject.loaded(&subject.programs.hangs).await;
    let running = container.clone();
    let running = tokio::spawn(async move { running.run(run(1, &json!({})), PATIENCE).await });
    // Runs until the other task waits for the container.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    container.destroy().await;
    let end = time::timeout(PATIENCE, running).await.expect("the run ends").expect("without panic");
    assert!(matches!(end, Ok(RunEnd::Ended(Ended::Exited)) | Err(Error::Gone)), "{end:?}");
}
