//! Reading a store to its end.

use std::collections::HashSet;

use whisker_entity::CodeHash;
use whisker_store::{Document, Error};

use crate::{
    Content, PORTION, Progress, Stage, Whole,
    copy::code_of,
    meter::{Meter, namespaces},
};

/// Problems that are told; of more only how many.
const TOLD: usize = 1_000;

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is understood.
    pub content: Content,
    /// Different codes of actions.
    pub codes: u64,
    /// What is not, in words; at most a thousand.
    pub problems: Vec<String>,
    /// How many there are.
    pub problem_count: u64,
}

impl Report {
    fn problem(&mut self, words: String) {
        self.problem_count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(words);
        }
    }

    /// What was read, or a problem.
    fn understood<T>(&mut self, item: Result<T, Error>) -> Option<T> {
        item.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            self.problem(format!("{error}{cause}"));
        })
        .ok()
    }
}

/// Reads everything: each document as the server would, and each code by its
/// hash. Shows each entity that is understood. Fails only where the store itself
/// does.
pub async fn check(
    store: &Whole,
    progress: Progress<'_>,
    show: &mut (dyn FnMut(&Document) + Send),
) -> Result<Report, Error> {
    read(store, Meter::new(progress), show).await
}

pub(crate) async fn read(
    store: &Whole,
    mut meter: Meter<'_>,
    show: &mut (dyn FnMut(&Document) + Send),
) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut codes: HashSet<CodeHash> = HashSet::new();

    let (mut after, mut done, mut owned) = (None, 0, Vec::new());
    loop {
        let scan = store.subjects.scan(after.as_ref(), PORTION).await?;
        done += scan.items.len() as u64;
        for item in scan.items {
            if let Some(registered) = report.understood(item) {
                report.content.add_registered(&registered);
                owned.extend(namespaces(&registered));
            }
        }
        meter.reached(Stage::Users, done, None);
        after = scan.next;
        if after.is_none() {
            break;
        }
    }
    meter.ended(done);
    done = 0;
    loop {
        let scan = store.entities.scan(after.as_ref(), PORTION).await?;
        done += scan.items.len() as u64;
        for item in scan.items {
            let Some(stored) = report.understood(item) else { continue };
            report.content.add_document(&stored.document);
            show(&stored.document);
            let Some((hash, length)) = code_of(&stored.document) else { continue };
            if codes.insert(hash) {
                let name = stored.document.qualified_name();
                match store.entities.code(hash).await {
                    Ok(text) if CodeHash::of(&text) == hash && text.len() as u64 == length => {}
                    Ok(_) => report.problem(format!("the code of {name} is not what its hash says")),
                    Err(Error::Missing) => report.problem(format!("the code of {name} is not there")),
                    Err(error @ Error::Corrupt(..)) => report.problem(format!("the code of {name}: {error}")),
                    Err(error) => return Err(error),
                }
            }
        }
        meter.reached(Stage::Entities, done, None);
        after = scan.next;
        if after.is_none() {
            break;
        }
    }
    meter.ended(done);
    done = 0;
    let all = meter.records(&*store.activations, owned).await;
    loop {
        let scan = store.activations.scan(after.as_ref(), PORTION).await?;
        done += scan.items.len() as u64;
        for item in scan.items {
            if let Some(record) = report.understood(item) {
                report.content.add_record(&record);
            }
        }
        meter.reached(Stage::Records, done, all);
        after = scan.next;
        if after.is_none() {
            break;
        }
    }
    report.codes = codes.len() as u64;
    Ok(report)
}
