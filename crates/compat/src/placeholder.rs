//! `${…}` in recorded texts: variables and repetitions are filled in before a
//! comparison, patterns stand for whatever an answer holds in their place.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

/// Variables by name.
pub type Variables = BTreeMap<String, String>;

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| regex(r"\$\{([^}]*)\}"));

/// What a pattern stands for, as a regular expression.
fn pattern(name: &str) -> Option<&'static str> {
    Some(match name {
        "activationId" => "[0-9a-f]{32}",
        "transid" => "[A-Za-z0-9_]{32}",
        "any" => "(?s:.*)",
        // Of a member that is not there: no value is like it.
        "absent" => r"[^\s\S]",
        "int" => r"-?\d+",
        "millis" => r"\d{13}",
        "uuid" => "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "timestamp" => r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
        // As `wsk` prints them in columns: the time where it runs, and a number
        // with what fills its column.
        "shown" => r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        "filled" => r"(?:[0-9.]+(?:µs|ms|s|m|h))+ +",
        "duration" => r"[0-9.]+(?:ms|s|m[0-9.]+s)?",
        "host" => r"[A-Za-z0-9.\[\]:-]+",
        "logtime" => r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9TZ:. -]{11}",
        "log" => r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9TZ:. -]{11} (?:(?:stdout|stderr): )?",
        _ => return None,
    })
}

/// Fills in variables and repetitions; `Err` is a variable that nobody captured.
pub fn expand(value: &Value, variables: &Variables) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(expand_text(text, variables)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| expand(item, variables)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| Ok((expand_text(name, variables)?, expand(value, variables)?)))
                .collect::<Result<Map<_, _>, String>>()?,
        ),
        other => other.clone(),
    })
}

/// Fills in variables and repetitions of a text.
pub fn expand_text(text: &str, variables: &Variables) -> Result<String, String> {
    let mut filled = String::new();
    let mut end = 0;
    for found in PLACEHOLDER.captures_iter(text) {
        let (whole, name) = (found.get(0).expect("group 0 always is"), &found[1]);
        filled += &text[end..whole.start()];
        end = whole.end();
        if let Some((what, times)) = name.strip_prefix("repeat:").and_then(|rest| rest.rsplit_once(':')) {
            filled += &what.repeat(times.parse().map_err(|_| name.to_owned())?);
        } else if let Some(value) = variables.get(name) {
            filled += value;
        } else if pattern(name.trim_end_matches('?')).is_some() {
            filled += whole.as_str();
        } else {
            return Err(name.to_owned());
        }
    }
    Ok(filled + &text[end..])
}

/// Whether a recorded text stands for this value.
pub fn stands_for(expected: &str, actual: &Value) -> bool {
    match expected {
        "${any}" => return true,
        "${int}" | "${millis}" if actual.is_i64() || actual.is_u64() => return true,
        _ => {}
    }
    let Value::String(actual) = actual else { return false };
    if !expected.contains("${") {
        return expected == actual;
    }
    let mut expression = String::from("^");
    let mut end = 0;
    for found in PLACEHOLDER.captures_iter(expected) {
        let whole = found.get(0).expect("group 0 always is");
        expression += &regex::escape(&expected[end..whole.start()]);
        expression += pattern(&found[1]).unwrap_or_else(|| panic!("unknown placeholder in {expected:?}"));
        end = whole.end();
    }
    expression += &regex::escape(&expected[end..]);
    expression.push('$');
    regex(&expression).is_match(actual)
}

fn regex(expression: &str) -> Regex {
    Regex::new(expression).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_filled_in_and_patterns_stay() {
        let variables = Variables::from([("RUN".to_owned(), "abc".to_owned())]);
        assert_eq!(expand_text("n-${RUN}-${int}-${repeat:xy:2}", &variables).unwrap(), "n-abc-${int}-xyxy");
        assert_eq!(expand(&json!({"${RUN}": ["${RUN}", 1]}), &variables).unwrap(), json!({"abc": ["abc", 1]}));
        assert_eq!(expand_text("${GONE}", &variables), Err("GONE".to_owned()));
    }

    #[test]
    fn a_pattern_stands_for_what_it_says() {
        for (expected, actual, same) in [
            ("${any}", json!({"a": [1]}), true),
            ("${int}", json!(-3), true),
            ("${int}", json!(1.5), false),
            ("${int}", json!("12"), true),
            ("took ${int} ms.", json!("took 12 ms."), true),
            ("took ${int} ms.", json!("took 12 msx"), false),
            ("${log}a line", json!("2026-11-21T03:00:00.123456789Z stdout: a line"), true),
            ("${log}a line", json!("2026-11-21T03:00:00.123456789Z a line"), true),
            ("${log}a line", json!("2026-11-21T03:00:00Z stdout: a line"), false),
            ("1", json!(1), false),
            ("a\n${any}", json!("a\nb\nc"), true),
        ] {
            assert_eq!(stands_for(expected, &actual), same, "{expected} {actual}");
        }
    }
}
