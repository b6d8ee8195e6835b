//! What an action asks for, in its annotations.
//!
//! Checked when an action is put, so that a wish that cannot be understood is
//! refused with words and not forgotten in silence.

use std::time::Duration;

use serde_json::Value;
use whisker_entity::{EntityName, EntityPath, Parameters, QualifiedName, Status};

/// Name of the annotation that asks for retries.
pub const RETRIES: &str = "whisker-retries";
/// Name of the annotation that names a trigger.
pub const DEAD_LETTER: &str = "whisker-dead-letter";

/// Most retries: with the longest pauses they take about as long as the
/// greatest age.
const MOST: u64 = 10;
/// Pauses and ages that make sense.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
const AGES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// When an action runs again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Runs after the first, at most.
    pub count: u32,
    /// Pause before the second run; each further one is twice as long.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Nothing is begun later than this after the activation was accepted.
    pub max_age: Duration,
    /// Which failures are worth another run.
    pub on: Outcomes,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcomes {
    /// The function answered with an `error`.
    pub application: bool,
    /// It threw, crashed, ran out of time or memory.
    pub developer: bool,
    /// The platform failed, or was killed while it ran.
    pub platform: bool,
}

impl Outcomes {
    /// Each failure.
    pub const ALL: Outcomes = Outcomes { application: true, developer: true, platform: true };

    /// Whether this outcome is one of them. Success never is.
    pub fn contains(self, status: Status) -> bool {
        match status {
            Status::Success => false,
            Status::ApplicationError => self.application,
            Status::DeveloperError => self.developer,
            Status::WhiskError => self.platform,
        }
    }
}

impl Default for Policy {
    /// Two retries after a second and two, up to five minutes apart and six
    /// hours old, after any failure. Number and age are Lambda's.
    fn default() -> Policy {
        Policy {
            count: 2,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            max_age: Duration::from_secs(6 * 3600),
            on: Outcomes::ALL,
        }
    }
}

/// An annotation that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The annotation '{name}' is malformed: {detail}.")]
pub struct Invalid {
    name: &'static str,
    detail: String,
}

fn invalid(name: &'static str, detail: impl Into<String>) -> Invalid {
    Invalid { name, detail: detail.into() }
}

impl Policy {
    /// What these annotations ask for; `None` if for nothing.
    pub fn of(annotations: &Parameters) -> Result<Option<Policy>, Invalid> {
        match annotations.get(RETRIES) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(count)) => Ok(Some(Policy { count: number(count.as_u64())?, ..Policy::default() })),
            Some(Value::Object(members)) => members.iter().try_fold(Policy::default(), Policy::with).map(Some),
            Some(_) => Err(invalid(RETRIES, format!("it is a number from 0 to {MOST}, or an object"))),
        }
    }

    fn with(mut self, (name, value): (&String, &Value)) -> Result<Policy, Invalid> {
        match name.as_str() {
            "count" => self.count = number(value.as_u64())?,
            "backoff" => self.backoff = time(name, value, PAUSES)?,
            "max-backoff" => self.max_backoff = time(name, value, PAUSES)?,
            "max-age" => self.max_age = time(name, value, AGES)?,
            "on" => self.on = outcomes(value)?,
            _ => {
                let known = "count, backoff, max-backoff, max-age, on";
                return Err(invalid(RETRIES, format!("there is no '{name}'; there are {known}")));
            }
        }
        Ok(self)
    }
}

fn number(count: Option<u64>) -> Result<u32, Invalid> {
    let count = count.filter(|count| *count <= MOST).and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| invalid(RETRIES, format!("'count' is a whole number from 0 to {MOST}")))
}

/// `"1m 30s"`, or a number of milliseconds, which is what limits are given in.
fn time(name: &str, value: &Value, (least, most): (Duration, Duration)) -> Result<Duration, Invalid> {
    let time = match value {
        Value::String(text) => humantime::parse_duration(text).ok(),
        value => value.as_u64().map(Duration::from_millis),
    };
    time.filter(|time| (least..=most).contains(time)).ok_or_else(|| {
        let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
        invalid(RETRIES, format!("'{name}' is a time such as \"30s\", from {least} to {most}"))
    })
}

fn outcomes(value: &Value) -> Result<Outcomes, Invalid> {
    let wrong = || invalid(RETRIES, "'on' is a list of \"application\", \"developer\" and \"platform\"");
    let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    let mut on = Outcomes { application: false, developer: false, platform: false };
    for name in list {
        match name.as_str() {
            Some("application") => on.application = true,
            Some("developer") => on.developer = true,
            Some("platform") => on.platform = true,
            _ => return Err(wrong()),
        }
    }
    Ok(on)
}

/// The trigger that is fired when an activation of an action in this namespace
/// has failed for good; `None` if none is named.
///
/// It is one of the same namespace: arguments are their owner's, and nobody
/// else is handed them.
pub fn dead_letter(annotations: &Parameters, namespace: &EntityName) -> Result<Option<QualifiedName>, Invalid> {
    let wrong = || invalid(DEAD_LETTER, "it is the name of a trigger in the action's own namespace");
    let text = match annotations.get(DEAD_LETTER) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str().ok_or_else(wrong)?,
    };
    let name = match text.strip_prefix('/') {
        None => text,
        Some(path) => match path.split_once('/') {
            Some((owner, name)) if owner == "_" || owner == namespace.as_str() => name,
            _ => return Err(wrong()),
        },
    };
    let name: EntityName = name.parse().map_err(|_| wrong())?;
    Ok(Some(QualifiedName::new(EntityPath::root(namespace.clone()), name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotated(name: &str, value: Value) -> Parameters {
        let mut annotations = Parameters::default();
        annotations.set_value(name, value);
        annotations
    }

    fn policy(value: Value) -> Result<Option<Policy>, String> {
        Policy::of(&annotated(RETRIES, value)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_enough_and_the_rest_can_be_said() {
        assert_eq!(Policy::of(&Parameters::default()), Ok(None));
        assert_eq!(policy(json!(null)), Ok(None), "as wsk takes an annotation back");
        assert_eq!(policy(json!(3)), Ok(Some(Policy { count: 3, ..Policy::default() })));
        assert_eq!(policy(json!({})), Ok(Some(Policy::default())));
        let all = json!({"count": 10, "backoff": 250, "max-backoff": "1m 30s", "max-age": "24h", "on": ["platform"]});
        let on = Outcomes { application: false, developer: false, platform: true };
        let asked = Policy {
            count: 10,
            backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(90),
            max_age: Duration::from_secs(86_400),
            on,
        };
        assert_eq!(policy(all), Ok(Some(asked)));
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        for (value, words) in [
            (json!("3"), "a number from 0 to 10, or an object"),
            (json!(11), "'count' is a whole number from 0 to 10"),
            (json!(-1), "'count' is a whole number from 0 to 10"),
            (json!(1.5), "'count' is a whole number from 0 to 10"),
            (json!({"attempts": 1}), "there is no 'attempts'"),
            (json!({"backoff": "soon"}), "'backoff' is a time"),
            (json!({"backoff": 99}), "from 100ms to 1h"),
            (json!({"max-age": "25h"}), "from 1s to 1day"),
            (json!({"on": []}), "'on' is a list"),
            (json!({"on": ["success"]}), "'on' is a list"),
        ] {
            let told = policy(value.clone()).expect_err("refused");
            assert!(told.starts_with("The annotation 'whisker-retries' is malformed: "), "{told}");
            assert!(told.contains(words), "{value}: {told}");
        }
    }

    #[test]
    fn a_dead_letter_goes_to_a_trigger_of_the_same_namespace() {
        let namespace: EntityName = "guest".parse().expect("a name");
        let read = |value| dead_letter(&annotated(DEAD_LETTER, value), &namespace);
        for text in ["failed", "/_/failed", "/guest/failed"] {
            let name = read(json!(text)).ok().flatten().map(|name| name.to_string());
            assert_eq!(name.as_deref(), Some("guest/failed"), "{text}");
        }
        assert_eq!(read(json!(null)), Ok(None));
        for bad in
            [json!(""), json!(5), json!("/other/failed"), json!("/guest/package/failed"), json!("a/b"), json!("/x")]
        {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
