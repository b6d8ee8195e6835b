//! A sequence under way, kept as a value.
//!
//! It hears how each component ended and answers with what comes next. It
//! resolves nothing, runs nothing and reads no clock.

use whisker_api::{Arguments, messages};
use whisker_entity::{QualifiedName, Response, Status};

use crate::compose::{
    part::{Part, error, is_error},
    tally::Tally,
};

/// A sequence and how far it came.
#[derive(Debug)]
pub struct Sequence {
    components: std::vec::IntoIter<QualifiedName>,
    atoms: u32,
    limit: u32,
    tally: Tally,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// This component, with these arguments.
    Run(QualifiedName, Arguments),
    /// Nothing: this is the sequence's response.
    End(Response),
}

impl Sequence {
    /// A sequence that has not begun. `atoms` is how many actions, sequences
    /// themselves not counted, those ran that this one is a part of; together
    /// they may not run more than `limit`.
    pub fn new(components: Vec<QualifiedName>, atoms: u32, limit: u32) -> Self {
        Self { components: components.into_iter(), atoms, limit, tally: Tally::default() }
    }

    /// The first component. An `error` in the input is an argument like others.
    pub fn begin(&mut self, input: Arguments) -> Next {
        match self.advance() {
            Some(Ok(component)) => Next::Run(component, input),
            Some(Err(too_long)) => Next::End(too_long),
            // Stored sequences are never empty, unless another program wrote them.
            None => Next::End(error(Status::ApplicationError, messages::SEQUENCE_EMPTY)),
        }
    }

    /// What comes after a component, which made the number of actions that
    /// have run `atoms`.
    pub fn after(&mut self, part: Part, atoms: u32) -> Next {
        self.atoms = atoms;
        match part {
            Part::Ended(activation) => {
                self.tally.add(&activation);
                let response = &activation.response;
                if atoms > self.limit {
                    return Next::End(too_long());
                }
                if is_error(response) {
                    return Next::End(response.clone());
                }
                match self.advance() {
                    Some(Ok(component)) => Next::Run(component, Arguments::of_result(response.result.as_deref())),
                    Some(Err(too_long)) => Next::End(too_long),
                    None => Next::End(response.clone()),
                }
            }
            Part::Late(id) => {
                self.tally.add_lost(id);
                Next::End(error(Status::WhiskError, &messages::component_timed_out(id)))
            }
            Part::Missing => Next::End(error(Status::ApplicationError, messages::COMPONENT_MISSING)),
            Part::Refused(why) => Next::End(error(Status::ApplicationError, &why)),
            Part::TooDeep => Next::End(too_long()),
            Part::Failed => Next::End(error(Status::WhiskError, messages::SEQUENCE_FAILED)),
        }
    }

    /// How many actions have run, those of enclosing sequences included.
    pub fn atoms(&self) -> u32 {
        self.atoms
    }

    /// What its components add up to.
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    fn advance(&mut self) -> Option<Result<QualifiedName, Response>> {
        let component = self.components.next()?;
        Some(if self.atoms < self.limit { Ok(component) } else { Err(too_long()) })
    }
}

fn too_long() -> Response {
    error(Status::ApplicationError, messages::SEQUENCE_TOO_LONG)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use whisker_entity::{ActivationId, Parameters};

    use super::*;
    use crate::compose::testing::{activation, ended};

    /// Runs a sequence of `length` whose components end as told, and says
    /// what each was given, how it ended, and which ids it lists.
    fn life(length: usize, limit: u32, parts: Vec<(Part, u32)>) -> (Vec<String>, (Status, String), usize) {
        let components = (0..length).map(|n| format!("guest/a{n}").parse().unwrap()).collect();
        let mut sequence = Sequence::new(components, 0, limit);
        let input = RawObject(r#"{"error":"mine"}"#).arguments();
        let (mut given, mut next, mut parts) = (Vec::new(), sequence.begin(input), parts.into_iter());
        loop {
            match next {
                Next::Run(name, arguments) => {
                    given.push(format!("{} {}", name.name, arguments.over(&Parameters::default()).get()));
                    let (part, atoms) = parts.next().unwrap();
                    next = sequence.after(part, atoms);
                }
                Next::End(response) => {
                    assert!(parts.next().is_none(), "it ended before all parts did");
                    let result = response.result.map(|r| r.get().to_owned()).unwrap_or_default();
                    return (given, (response.status, result), sequence.into_tally().parts.len());
                }
            }
        }
    }

    struct RawObject(&'static str);

    impl RawObject {
        fn arguments(&self) -> Arguments {
            whisker_api::Payload::parse(self.0.as_bytes()).unwrap().into()
        }
    }

    fn given(given: &[&str]) -> Vec<String> {
        given.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn results_pass_from_one_to_the_next_and_the_last_is_the_whole() {
        let (saw, end, parts) =
            life(3, 50, vec![(ended("{\"n\":1}"), 1), (ended("[1,2]"), 2), (ended("{\"n\":3}"), 3)]);
        assert_eq!(saw, given(&["a0 {\"error\":\"mine\"}", "a1 {\"n\":1}", "a2 [1,2]"]));
        assert_eq!((end, parts), ((Status::Success, "{\"n\":3}".into()), 3));
    }

    #[test]
    fn an_error_is_the_end_whatever_the_status() {
        let failed = |status, result: &str| Part::Ended(Arc::new(activation(status, result)));
        for (part, status, result) in [
            (failed(Status::ApplicationError, r#"{"error":"e"}"#), Status::ApplicationError, r#"{"error":"e"}"#),
            (failed(Status::DeveloperError, r#"{"error":"e"}"#), Status::DeveloperError, r#"{"error":"e"}"#),
            // What a composition answered.
            (failed(Status::Success, r#"{"\u0065rror":1,"b":2}"#), Status::Success, r#"{"\u0065rror":1,"b":2}"#),
        ] {
            let (saw, end, parts) = life(2, 50, vec![(part, 1)]);
            assert_eq!((saw.len(), end, parts), (1, (status, result.into()), 1), "{result}");
        }
        let (_, end, _) = life(2, 50, vec![(ended(r#"{"a":{"error":1}}"#), 1), (ended("{}"), 2)]);
        assert_eq!(end, (Status::Success, "{}".into()), "an error inside is no error");
    }

    #[test]
    fn what_has_no_record_is_told_in_openwhisks_words() {
        let id = ActivationId::new(0, 7);
        for (part, status, words, parts) in [
            (Part::Missing, Status::ApplicationError, messages::COMPONENT_MISSING.to_owned(), 1),
            (Part::Failed, Status::WhiskError, messages::SEQUENCE_FAILED.to_owned(), 1),
            (Part::Refused("no".into()), Status::ApplicationError, "no".to_owned(), 1),
            (Part::Late(id), Status::WhiskError, messages::component_timed_out(id), 2),
        ] {
            let (_, end, listed) = life(3, 50, vec![(ended("{}"), 1), (part, 1)]);
            assert_eq!((end, listed), ((status, format!("{{\"error\":\"{words}\"}}")), parts), "{words}");
        }
    }

    #[test]
    fn no_more_than_the_limit_run() {
        let too_long = (Status::ApplicationError, format!("{{\"error\":\"{}\"}}", messages::SEQUENCE_TOO_LONG));
        // The second was a sequence of two.
        let (saw, end, parts) = life(3, 3, vec![(ended("{}"), 1), (ended("{}"), 3)]);
        assert_eq!((saw.len(), end, parts), (2, too_long.clone(), 2));
        let (saw, end, _) = life(2, 3, vec![(ended("{}"), 1), (ended("{}"), 3)]);
        assert_eq!((saw.len(), end), (2, (Status::Success, "{}".into())), "exactly the limit is allowed");
        let (_, end, parts) = life(2, 3, vec![(ended("{}"), 4)]);
        assert_eq!((end, parts), (too_long.clone(), 1));
        assert_eq!(life(1, 0, vec![]).1, too_long);
    }

    #[test]
    fn parts_are_added_up() {
        let mut sequence = Sequence::new(vec!["guest/a".parse().unwrap(); 2], 0, 50);
        sequence.begin(Arguments::of_result(None));
        sequence.after(ended("{}"), 1);
        sequence.after(ended("{}"), 2);
        let tally = sequence.into_tally();
        assert_eq!((tally.duration_ms, tally.memory_mb, tally.parts.len()), (10, Some(128), 2));
    }
}
