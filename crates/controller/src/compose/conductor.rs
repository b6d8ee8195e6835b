//! A composition under way, kept as a value.
//!
//! Its conductor, an ordinary action, is run again and again: each time it
//! says which action to run next, with what, and what it wants to be reminded
//! of. What went wrong with a step is told to it, so that it can go on in
//! another way; what the platform failed at ends the composition.

use serde_json::value::{RawValue, to_raw_value};
use whisker_api::{Arguments, Payload, messages};
use whisker_entity::{EntityName, EntityPath, QualifiedName, Response, Status};

use crate::compose::{
    part::{Part, error},
    tally::Tally,
};

/// How many have run, of a composition and of all that are nested in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Actions and sequences that conductors asked for.
    pub components: u32,
    /// Runs of conductors.
    pub conductors: u32,
}

/// A composition and how far it came.
#[derive(Debug)]
pub struct Conductor {
    namespace: EntityName,
    limit: u32,
    state: Payload,
    tally: Tally,
}

/// What comes next.
#[derive(Debug)]
pub enum Turn {
    /// The conductor itself.
    Conduct(Arguments),
    /// The action that it asked for.
    Run(QualifiedName, Arguments),
    /// Nothing: this is the composition's response.
    End(Response),
}

impl Conductor {
    /// A composition that has not begun, for a caller whose namespace this
    /// is. It may run `limit` components; its conductor, twice as often and
    /// once more. The record says at least the conductor's own memory.
    pub fn new(namespace: EntityName, limit: u32, memory_mb: u32) -> Self {
        Self { namespace, limit, state: Payload::default(), tally: Tally::of_at_least(memory_mb) }
    }

    /// The conductor's first run, or the one that gets a component's result.
    pub fn begin(&mut self, mut payload: Payload, counts: &mut Counts) -> Turn {
        if counts.conductors > 2 * self.limit {
            return Turn::End(error(Status::ApplicationError, messages::COMPOSITION_TOO_LONG));
        }
        counts.conductors += 1;
        payload.set_all(&self.state);
        Turn::Conduct(payload.into())
    }

    /// What comes after a run of the conductor.
    pub fn after_conductor(&mut self, part: Part, counts: &mut Counts) -> Turn {
        let Part::Ended(activation) = part else { return Turn::End(self.lost(part)) };
        self.tally.add(&activation);
        let status = activation.response.status;
        let end = |result: Option<Box<RawValue>>| Turn::End(Response { status, result, size: None });
        let result = &activation.response.result;
        // An array asks for nothing.
        let Some(mut said) = result.as_deref().and_then(Payload::of) else { return end(result.clone()) };
        let params = said.take("params").map(|params| boxed(params, "value"));
        self.state = said.take("state").map(|state| boxed(state, "state")).unwrap_or_default();
        let Some(action) = said.take("action") else {
            let params = params.map(|params| params.to_text().as_ref().to_owned());
            return end(params.or_else(|| result.clone()));
        };
        match self.name(&action) {
            None => self.tell(&messages::composition_bad_name(compact(&action)), counts),
            Some(_) if counts.components >= self.limit => self.tell(messages::COMPOSITION_TOO_LONG, counts),
            Some(name) => Turn::Run(name, params.unwrap_or_default().into()),
        }
    }

    /// What comes after the component that the conductor asked for by `name`.
    pub fn after_component(&mut self, name: &QualifiedName, part: Part, counts: &mut Counts) -> Turn {
        match part {
            Part::Ended(activation) => {
                self.tally.add(&activation);
                let payload = activation.response.result.clone().map(|result| boxed(result, "value"));
                self.begin(payload.unwrap_or_default(), counts)
            }
            Part::Missing => self.tell(&messages::composition_missing(name), counts),
            Part::Refused(_) => self.tell(&messages::composition_forbidden(name), counts),
            Part::TooDeep => self.tell(messages::COMPOSITION_TOO_LONG, counts),
            Part::Late(_) | Part::Failed => Turn::End(self.lost(part)),
        }
    }

    /// What its runs add up to.
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    /// Runs the conductor with an error, for it to decide.
    fn tell(&mut self, text: &str, counts: &mut Counts) -> Turn {
        let mut payload = Payload::default();
        if let Ok(text) = to_raw_value(text) {
            payload.set("error", text);
        }
        self.begin(payload, counts)
    }

    /// The response where a part has no record to go on with.
    fn lost(&mut self, part: Part) -> Response {
        let text = match part {
            Part::Late(id) => {
                self.tally.add_lost(id);
                messages::composition_timed_out(id)
            }
            Part::Ended(_) | Part::Missing | Part::Refused(_) | Part::TooDeep | Part::Failed => {
                messages::COMPOSITION_FAILED.into()
            }
        };
        error(Status::WhiskError, &text)
    }

    /// `name`, `package/name`, `/namespace/name` or `[/]namespace/package/name`.
    fn name(&self, action: &RawValue) -> Option<QualifiedName> {
        let text: String = serde_json::from_str(action.get()).ok()?;
        let parts = text.split('/').filter(|part| !part.is_empty()).map(EntityName::new);
        let parts: Vec<EntityName> = parts.collect::<Result<_, _>>().ok()?;
        let own = |namespace: EntityName| if namespace.as_str() == "_" { self.namespace.clone() } else { namespace };
        let absolute = text.starts_with('/');
        let at = |namespace: EntityName, package: Option<EntityName>, name: EntityName| {
            QualifiedName::new(EntityPath { namespace, package }, name)
        };
        match <[EntityName; 3]>::try_from(parts) {
            Ok([namespace, package, name]) => Some(at(own(namespace), Some(package), name)),
            Err(parts) => match <[EntityName; 2]>::try_from(parts) {
                Ok([namespace, name]) if absolute => Some(at(own(namespace), None, name)),
                Ok([package, name]) => Some(at(self.namespace.clone(), Some(package), name)),
                Err(parts) => match <[EntityName; 1]>::try_from(parts) {
                    Ok([name]) if !absolute => Some(at(self.namespace.clone(), None, name)),
                    Ok(_) | Err(_) => None,
                },
            },
        }
    }
}

/// An object as it is; any other value as the one member of an object.
fn boxed(value: Box<RawValue>, name: &str) -> Payload {
    Payload::of(&value).unwrap_or_else(|| {
        let mut payload = Payload::default();
        payload.set(name, value);
        payload
    })
}

/// JSON without needless space; as it came, where a number in it is one that
/// only text can hold.
fn compact(json: &RawValue) -> String {
    serde_json::from_str::<serde_json::Value>(json.get()).map_or_else(|_| json.get().into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use whisker_entity::{ActivationId, Parameters};

    use super::*;
    use crate::compose::testing::{activation, ended};

    fn conductor() -> Conductor {
        Conductor::new("guest".parse().unwrap(), 2, 256)
    }

    /// A turn in short: `conduct {…}`, `guest/a {…}` or `success {…}`.
    fn short(turn: Turn) -> String {
        let text = |arguments: Arguments| arguments.over(&Parameters::default()).get().to_owned();
        match turn {
            Turn::Conduct(arguments) => format!("conduct {}", text(arguments)),
            Turn::Run(name, arguments) => format!("{name} {}", text(arguments)),
            Turn::End(Response { status, result, .. }) => {
                format!("{} {}", status.words(), result.map(|r| r.get().to_owned()).unwrap_or_default())
            }
        }
    }

    fn payload(text: &str) -> Payload {
        Payload::parse(text.as_bytes()).unwrap()
    }

    #[track_caller]
    fn said(result: &str, turn: &str) {
        assert_eq!(short(conductor().after_conductor(ended(result), &mut Counts::default())), turn, "{result}");
    }

    #[test]
    fn a_result_without_action_is_the_end() {
        said(r#"{"x": 1}"#, r#"success {"x": 1}"#);
        said(r#"{"params":{"y":2},"z":3}"#, r#"success {"y":2}"#);
        said(r#"{"params":7}"#, r#"success {"value":7}"#);
        said(r#"{"state":{"s":1}}"#, r#"success {"state":{"s":1}}"#);
        said(r#"{"params":{"error":"e"}}"#, r#"success {"error":"e"}"#);
        said("[1]", "success [1]");
        let failed = Part::Ended(Arc::new(activation(Status::ApplicationError, r#"{"error":"bad"}"#)));
        let turn = conductor().after_conductor(failed, &mut Counts::default());
        assert_eq!(short(turn), r#"application error {"error":"bad"}"#);
    }

    #[test]
    fn names_are_resolved_in_the_callers_namespace() {
        said(r#"{"action":"a"}"#, "guest/a {}");
        said(r#"{"action":"p/a","params":{"n":1e400}}"#, r#"guest/p/a {"n":1e400}"#);
        said(r#"{"action":"/_/a"}"#, "guest/a {}");
        said(r#"{"action":"/other/a"}"#, "other/a {}");
        said(r#"{"action":"/other/p/a"}"#, "other/p/a {}");
        said(r#"{"action":"other/p/a","params":null}"#, r#"other/p/a {"value":null}"#);
        for (action, shown) in [
            ("5", "5"),
            ("\"\"", "\\\"\\\""),
            ("\"/a\"", "\\\"/a\\\""),
            ("\"a/b/c/d\"", "\\\"a/b/c/d\\\""),
            ("{ \"x\": 1 }", "{\\\"x\\\":1}"),
            ("null", "null"),
        ] {
            let words = format!("Failed to parse action name from json value {shown} during composition.");
            said(&format!("{{\"action\":{action}}}"), &format!("conduct {{\"error\":\"{words}\"}}"));
        }
    }

    #[test]
    fn state_is_given_back_over_the_result_of_the_component() {
        let (mut conductor, mut counts) = (conductor(), Counts::default());
        assert_eq!(short(conductor.begin(payload(r#"{"a":1}"#), &mut counts)), r#"conduct {"a":1}"#);
        let asked = conductor.after_conductor(ended(r#"{"action":"a","state":{"s":1,"n":0}}"#), &mut counts);
        assert_eq!(short(asked), "guest/a {}");
        let name = "guest/a".parse().unwrap();
        let turn = conductor.after_component(&name, ended(r#"{"n":2,"m":3}"#), &mut counts);
        assert_eq!(short(turn), r#"conduct {"n":0,"m":3,"s":1}"#);
        // The next answer has no state: it is forgotten.
        conductor.after_conductor(ended(r#"{"action":"a"}"#), &mut counts);
        let turn = conductor.after_component(&name, ended("[1]"), &mut counts);
        assert_eq!(short(turn), r#"conduct {"value":[1]}"#);
        conductor.after_conductor(ended(r#"{"action":"a","state":5}"#), &mut counts);
        assert_eq!(short(conductor.after_component(&name, ended("{}"), &mut counts)), r#"conduct {"state":5}"#);
        assert_eq!(conductor.into_tally().parts.len(), 6);
    }

    #[test]
    fn what_a_component_fails_at_is_told_to_the_conductor() {
        let name = "guest/a".parse().unwrap();
        let id = ActivationId::new(0, 7);
        let failed = Part::Ended(Arc::new(activation(Status::DeveloperError, r#"{"error":"e"}"#)));
        for (part, turn) in [
            (failed, r#"conduct {"error":"e"}"#.to_owned()),
            (Part::Missing, format!("conduct {{\"error\":\"{}\"}}", messages::composition_missing(&name))),
            (
                Part::Refused("no".into()),
                format!("conduct {{\"error\":\"{}\"}}", messages::composition_forbidden(&name)),
            ),
            (Part::Failed, format!("whisk internal error {{\"error\":\"{}\"}}", messages::COMPOSITION_FAILED)),
            (Part::Late(id), format!("whisk internal error {{\"error\":\"{}\"}}", messages::composition_timed_out(id))),
        ] {
            assert_eq!(short(conductor().after_component(&name, part, &mut Counts::default())), turn);
        }
        let turn = conductor().after_conductor(Part::Late(id), &mut Counts::default());
        assert!(short(turn).starts_with("whisk internal error"));
    }

    #[test]
    fn both_counts_are_bounded() {
        let mut conductor = conductor();
        let mut counts = Counts { components: 2, conductors: 4 };
        let turn = conductor.after_conductor(ended(r#"{"action":"a"}"#), &mut counts);
        assert_eq!(short(turn), r#"conduct {"error":"Too many actions in the composition."}"#);
        assert_eq!(counts.conductors, 5);
        let turn = conductor.after_conductor(ended(r#"{"action":"a"}"#), &mut counts);
        assert_eq!(short(turn), r#"application error {"error":"Too many actions in the composition."}"#);
    }
}
