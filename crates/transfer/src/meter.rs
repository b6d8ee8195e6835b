//! How far it is, and how far it will be.

use std::time::Duration;

use tokio::time::timeout;
use whisker_entity::EntityName;
use whisker_store::{ActivationQuery, Activations, Registered};

use crate::{Progress, Reached, Stage};

/// Longest that records are counted beforehand; then nobody knows how many.
const COUNTING: Duration = Duration::from_secs(10);

/// Tells one who waits.
pub(crate) struct Meter<'a> {
    progress: Progress<'a>,
    /// Of a target, how many documents it should have, and how many of earlier
    /// stages there were: that is one stage for who looks on.
    comparing: Option<(u64, u64)>,
}

impl<'a> Meter<'a> {
    /// Each stage is told for itself.
    pub fn new(progress: Progress<'a>) -> Self {
        Self { progress, comparing: None }
    }

    /// All stages are one, of so many documents.
    pub fn comparing(progress: Progress<'a>, all: u64) -> Self {
        Self { progress, comparing: Some((all, 0)) }
    }

    /// So many documents of a stage are done.
    pub fn reached(&self, stage: Stage, done: u64, all: Option<u64>) {
        (self.progress)(match self.comparing {
            None => Reached { stage, done, all },
            Some((all, before)) => Reached { stage: Stage::Comparing, done: before + done, all: Some(all) },
        });
    }

    /// A stage ended, with so many documents.
    pub fn ended(&mut self, documents: u64) {
        if let Some((_, before)) = &mut self.comparing {
            *before += documents;
        }
    }

    /// How many records these namespaces have, if it is to be told and the store
    /// says so soon.
    pub async fn records(&self, store: &dyn Activations, namespaces: Vec<EntityName>) -> Option<u64> {
        if self.comparing.is_some() {
            return None;
        }
        let counted = async {
            let mut all = 0;
            for namespace in namespaces {
                all += store.count(&ActivationQuery { namespace, name: None, since: None, upto: None }).await.ok()?;
            }
            Some(all)
        };
        timeout(COUNTING, counted).await.ok().flatten()
    }
}

/// The namespaces of a user.
pub(crate) fn namespaces(registered: &Registered) -> impl Iterator<Item = EntityName> {
    let own = match registered {
        Registered::Subject(subject) => &subject.namespaces[..],
        Registered::Limits(..) => &[],
    };
    own.iter().map(|namespace| namespace.name.clone())
}
