//! Playing one case: its action is made, run, and looked at from outside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use whisker_compat::{Variables, differences, expand};
use whisker_testkit::{Client, GUEST, Server};

use crate::{
    language::Language,
    suite::{Case, Code, Run, Step},
};

/// Longest that a record may take to appear, of a run that may take long.
const RECORDED: Duration = Duration::from_secs(180);

/// Columns of a log line before its stream.
const TIME_COLUMNS: usize = 31;

/// Stands for any log lines.
const ANY_LINES: &str = "${lines}";

/// What was wrong; nothing if the case holds.
pub fn case(server: &Server, language: &Language, case: &Case) -> Vec<String> {
    let guest = server.guest();
    let action = create(&guest, language, case);
    let mut found = Vec::new();
    let mut first = 0;
    for step in &case.steps {
        let runs = match step {
            Step::Run(run) => std::slice::from_ref(run),
            Step::Together(step) => &step.together,
        };
        let expected = language.expectations(case, first, runs);
        first += runs.len();
        let player = Player { server, guest: &guest, action: &action };
        std::thread::scope(|scope| {
            let players: Vec<_> = expected.iter().map(|run| scope.spawn(|| player.play(run))).collect();
            for (player, run) in players.into_iter().zip(&expected) {
                let differences = player.join().unwrap_or_else(|_| vec!["no answer (see above)".into()]);
                let input = shortened(run.input.as_ref().unwrap_or(&Value::Null).to_string());
                found.extend(differences.into_iter().map(|what| format!("{:?}, {input}: {what}", case.name)));
            }
        });
    }
    found
}

/// Creates the case's actions; the name of the one to run.
fn create(guest: &Client, language: &Language, case: &Case) -> String {
    let words = case.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    match &case.code {
        Code::Fixture(fixture) => drop(guest.action(&name, &language.action(case, fixture))),
        Code::Base64(_) => drop(guest.action(&name, &language.action(case, ""))),
        Code::Sequence(fixtures) => {
            let mut components = Vec::new();
            for (i, fixture) in fixtures.iter().enumerate() {
                let part = format!("{name}-{i}");
                guest.action(&part, &language.action(case, fixture));
                components.push(format!("/_/{part}"));
            }
            guest.action(&name, &json!({"exec": {"kind": "sequence", "components": components}}));
        }
    }
    name
}

struct Player<'a> {
    server: &'a Server,
    guest: &'a Client,
    action: &'a str,
}

impl Player<'_> {
    /// Runs once; what differs from what is expected.
    fn play(&self, run: &Run) -> Vec<String> {
        let filled = |value: &Value, variables: &Variables| {
            expand(value, variables).unwrap_or_else(|name| panic!("nobody knows ${{{name}}}"))
        };
        let before = now_ms();
        let input = filled(run.input.as_ref().unwrap_or(&Value::Null), &Variables::new());
        let path = self.guest.target(&format!("actions/{}?blocking=true", self.action));
        let request = whisker_testkit::Request::new("POST", path);
        let answer = self.guest.send(&if input.is_null() { request } else { request.json(&input) });
        let Some(id) = answer.header("x-openwhisk-activation-id") else {
            return vec![format!("status {}: {}", answer.status(), answer.text())];
        };
        let record = self.guest.record_within(RECORDED, id);

        let mut variables = Variables::from([
            ("ACTION".to_owned(), self.action.to_owned()),
            ("ACTIVATION".to_owned(), id.to_owned()),
            ("API_HOST".to_owned(), format!("http://{}", self.server.address())),
            ("KEY".to_owned(), GUEST.to_owned()),
            ("future".to_owned(), "${millis}".to_owned()),
            ("lines".to_owned(), ANY_LINES.to_owned()),
        ]);
        let transaction = answer.header("x-request-id").unwrap_or_default();
        variables.insert("TRANSACTION".to_owned(), transaction.to_owned());

        let mut found = Vec::new();
        let outcome = run.outcome.as_deref().unwrap_or("success");
        let status = if outcome == "success" { 200 } else { 502 };
        // A busy machine may compile for longer than a call waits for its answer.
        if ![status, 202].contains(&answer.status()) {
            found.push(format!("status: expected {status}, got {}", answer.status()));
        }
        let response = &record["response"];
        if response["status"] != outcome {
            found.push(format!("outcome: expected {outcome:?}, got {}", shortened(response.to_string())));
        }
        let body = answer.json();
        // A list stands alone in the answer, as OpenWhisk has it.
        let agrees = if body.is_array() { body == response["result"] } else { body["response"] == *response };
        if !agrees {
            found.push(format!("the record has {}", shortened(response.to_string())));
        }
        if let Some(expected) = &run.result {
            found.extend(differences(&filled(expected, &variables), &response["result"], "result"));
        }
        if let Some(deadline) = response["result"]["__OW_DEADLINE"].as_str().and_then(|text| text.parse::<u128>().ok())
            && deadline <= before
        {
            found.push(format!("the deadline {deadline} was over at {before}"));
        }
        if let Some(expected) = &run.logs {
            let expected: Vec<Value> = expected.iter().map(|line| filled(&line.as_str().into(), &variables)).collect();
            found.extend(lines(&expected, &record["logs"]));
        }
        found
    }
}

/// What differs in log lines, their times aside.
fn lines(expected: &[Value], logs: &Value) -> Vec<String> {
    let got = logs.as_array().map_or(&[][..], Vec::as_slice);
    let got: Vec<Value> =
        got.iter().map(|line| line.as_str().and_then(|line| line.get(TIME_COLUMNS..)).into()).collect();
    let mut parts = expected.split(|line| line == ANY_LINES).peekable();
    let mut rest = &got[..];
    let mut anywhere = false;
    let wrong = loop {
        let Some(part) = parts.next() else { break !rest.is_empty() };
        let last = parts.peek().is_none();
        let fits = |at: &usize| rest.get(*at..at + part.len()).is_some_and(|lines| same(part, lines));
        let place = match (anywhere, last) {
            (false, _) => Some(0).filter(fits),
            (true, true) => rest.len().checked_sub(part.len()).filter(fits),
            (true, false) => (0..rest.len()).find(fits),
        };
        let Some(place) = place else { break true };
        rest = &rest[place + part.len()..];
        anywhere = true;
    };
    if !wrong {
        return Vec::new();
    }
    let [expected, got] = [expected, &got].map(|lines| shortened(Value::from(lines).to_string()));
    vec![format!("logs: expected {expected}, got {got}")]
}

fn same(expected: &[Value], got: &[Value]) -> bool {
    expected.iter().zip(got).all(|(expected, got)| differences(expected, got, "").is_empty())
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(1000) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline is a date")]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
