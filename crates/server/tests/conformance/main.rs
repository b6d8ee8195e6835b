//! The contract between the platform and a language's runtime, one set of cases
//! for all languages, against the real binary over HTTP.
//!
//! `compat/runtimes` holds cases and sources as data; its README says how to
//! read them and how to add a language. A language's cases play side by side on
//! a server of their own, and all that fail are told at once.
//!
//! `CONFORMANCE_CONTAINERS` names the backend to play them on, `sandbox` if it
//! is not set; what only holds on one of them is data too.

mod language;
mod play;
mod suite;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use language::Language;
use suite::{Case, Suite};
use whisker_testkit::{Builder, Docker, Server};

/// Cases of one language that play at once: most of them wait for a start.
const AT_ONCE: usize = 4;

/// Fewest cases that say anything about a language.
const FEWEST: usize = 30;

/// Where containers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Sandbox,
    Docker,
}

impl Backend {
    fn chosen() -> Backend {
        match std::env::var("CONFORMANCE_CONTAINERS").as_deref() {
            Err(_) | Ok("sandbox") => Backend::Sandbox,
            Ok("docker") => Backend::Docker,
            Ok(other) => panic!("CONFORMANCE_CONTAINERS is sandbox or docker, not {other:?}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Backend::Sandbox => "sandbox",
            Backend::Docker => "docker",
        }
    }

    fn server(self, language: &str) -> Builder {
        let builder = match self {
            Backend::Sandbox => Server::builder(),
            Backend::Docker => Docker::shared().server(&[language]).switch("--no-prewarm"),
        };
        builder.flag("--action-concurrency-max", "20")
    }
}

#[track_caller]
fn conforms(name: &str) {
    let backend = Backend::chosen();
    let suite = Suite::read();
    let language = Language::read(name, backend.name());
    let (cases, left_out): (Vec<Case>, Vec<Case>) =
        suite.cases.into_iter().partition(|case| !language.not.contains_key(&case.name));
    for name in language.names() {
        let known = cases.iter().chain(&left_out).any(|case| case.name == name);
        assert!(known, "{} speaks of a case that is not there: {name:?}", language.name);
    }
    assert!(cases.len() >= FEWEST, "{} has only {} cases", language.name, cases.len());

    let server = backend.server(name).start();
    let count = cases.len();
    let (left, failures) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next(&left) {
                    let played = AssertUnwindSafe(|| play::case(&server, &language, &case));
                    // What panics has told why; the others are still wanted.
                    let found = catch_unwind(played).unwrap_or_else(|_| vec![format!("{:?}: see above", case.name)]);
                    failures.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                }
            });
        }
    });
    for case in left_out {
        eprintln!("{}: not {:?}: {}", language.name, case.name, language.not[&case.name]);
    }
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{} on {}: {count} cases", language.name, backend.name());
    assert!(failures.is_empty(), "{} on {}:\n{}", language.name, backend.name(), failures.join("\n"));
}

fn next(left: &Mutex<Vec<Case>>) -> Option<Case> {
    left.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

#[test]
fn go() {
    conforms("go");
}

#[test]
fn java() {
    conforms("java");
}

#[test]
fn native() {
    conforms("native");
}

#[test]
fn nodejs() {
    conforms("nodejs");
}

#[test]
fn php() {
    conforms("php");
}

#[test]
fn python() {
    conforms("python");
}

#[test]
fn ruby() {
    conforms("ruby");
}

#[test]
fn rust() {
    conforms("rust");
}

#[test]
fn every_language_with_sources_has_a_test() {
    let this = include_str!("main.rs");
    for entry in std::fs::read_dir(suite::folder()).expect("the suite").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let tested = this.contains(&format!("conforms({name:?})"));
        assert!(!entry.path().is_dir() || tested, "nothing plays compat/runtimes/{name}");
    }
}
