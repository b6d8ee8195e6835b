//! Subjects by name, and whose each namespace is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

use async_trait::async_trait;
use whisker_entity::{EntityName, Identity, Namespace, NamespaceLimits, Subject};

use super::{Memory, key_of, lock, portion_of};
use crate::{Cursor, Error, Portion, Registered, Scan, Subjects};

#[derive(Debug, Default)]
pub(super) struct State {
    subjects: BTreeMap<String, Subject>,
    /// Subjects' names by the uuids of their namespaces.
    by_uuid: HashMap<String, String>,
    /// Subjects' names by their namespaces.
    by_namespace: HashMap<EntityName, String>,
    limits: BTreeMap<EntityName, NamespaceLimits>,
}

/// How the cursors of subjects begin.
const SUBJECT: &str = ":";

impl State {
    fn remove(&mut self, subject: &str) -> Result<(), Error> {
        let old = self.subjects.remove(subject).ok_or(Error::Missing)?;
        for namespace in &old.namespaces {
            self.by_uuid.remove(namespace.key.uuid());
            self.by_namespace.remove(&namespace.name);
        }
        Ok(())
    }

    fn limits(&self, namespace: &EntityName) -> NamespaceLimits {
        self.limits.get(namespace).cloned().unwrap_or_default()
    }

    /// The identity of a subject in the namespace that is wanted.
    fn identity(&self, subject: Option<&String>, wanted: impl Fn(&Namespace) -> bool) -> Result<Identity, Error> {
        let subject = subject.and_then(|name| self.subjects.get(name)).filter(|subject| !subject.blocked);
        let subject = subject.ok_or(Error::Missing)?;
        let namespace = subject.namespaces.iter().find(|n| wanted(n)).ok_or(Error::Missing)?;
        Ok(Identity {
            subject: subject.subject.as_str().into(),
            namespace: namespace.name.clone(),
            key: namespace.key.clone(),
            limits: self.limits(&namespace.name),
        })
    }
}

#[async_trait]
impl Subjects for Memory {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        let state = lock(&self.subjects);
        state.identity(state.by_uuid.get(uuid), |n| n.key.uuid() == uuid)
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        let state = lock(&self.subjects);
        state.identity(state.by_namespace.get(namespace), |n| n.name == *namespace)
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        lock(&self.subjects).subjects.get(subject).cloned().ok_or(Error::Missing)
    }

    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        let mut state = lock(&self.subjects);
        let others = |owner: Option<&String>| owner.is_some_and(|owner| *owner != subject.subject);
        let (mut names, mut uuids) = (HashSet::new(), HashSet::new());
        for namespace in &subject.namespaces {
            let (name, uuid) = (&namespace.name, namespace.key.uuid());
            let twice = !names.insert(name) | !uuids.insert(uuid);
            if twice || others(state.by_namespace.get(name)) || others(state.by_uuid.get(uuid)) {
                return Err(Error::Stale);
            }
        }
        if state.subjects.contains_key(&subject.subject) {
            state.remove(&subject.subject)?;
        }
        for namespace in &subject.namespaces {
            state.by_uuid.insert(namespace.key.uuid().into(), subject.subject.clone());
            state.by_namespace.insert(namespace.name.clone(), subject.subject.clone());
        }
        state.subjects.insert(subject.subject.clone(), subject.clone());
        Ok(())
    }

    async fn delete(&self, subject: &str) -> Result<(), Error> {
        lock(&self.subjects).remove(subject)
    }

    async fn list(&self) -> Result<Vec<Subject>, Error> {
        Ok(lock(&self.subjects).subjects.values().cloned().collect())
    }

    async fn limits(&self, namespace: &EntityName) -> Result<NamespaceLimits, Error> {
        Ok(lock(&self.subjects).limits(namespace))
    }

    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error> {
        let mut state = lock(&self.subjects);
        match limits {
            Some(limits) => drop(state.limits.insert(namespace.clone(), limits.clone())),
            None => drop(state.limits.remove(namespace)),
        }
        Ok(())
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error> {
        // Limits first: their keys, which are names, cannot begin as subjects' do.
        let (limits, subjects) = match after.map(|cursor| cursor.0.strip_prefix(SUBJECT)) {
            None => (Some(Bound::Unbounded::<EntityName>), Bound::Unbounded),
            Some(None) => (Some(key_of(after)?), Bound::Unbounded),
            Some(Some(subject)) => (None, Bound::Excluded(subject.to_owned())),
        };
        let state = lock(&self.subjects);
        let limits = limits.into_iter().flat_map(|from| state.limits.range((from, Bound::Unbounded)));
        let limits = limits.map(|(name, own)| (name.to_string(), 0, Registered::Limits(name.clone(), own.clone())));
        let subjects = state.subjects.range((subjects, Bound::Unbounded));
        let subjects = subjects.map(|(name, s)| (format!("{SUBJECT}{name}"), 0, Registered::Subject(s.clone())));
        Ok(portion_of(limits.chain(subjects), portion))
    }
}
