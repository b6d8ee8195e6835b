//! Records by id, and in the three orders in which they are asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use whisker_entity::{Activation, ActivationId, EntityName, Millis, QualifiedName};

use super::{Memory, bounds, key_of, lock, portion_of};
use crate::{ActivationQuery, Activations, Cursor, Error, Page, Portion, Retention, Scan, Summary};

/// How many records one step of [`Activations::prune`] takes away at most.
const PRUNE_STEP: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct State {
    records: BTreeMap<ActivationId, Arc<Activation>>,
    by_age: BTreeSet<(Millis, ActivationId)>,
    by_namespace: BTreeMap<(EntityName, Millis, ActivationId), Arc<Activation>>,
    by_name: BTreeMap<(QualifiedName, Millis, ActivationId), Arc<Activation>>,
}

impl State {
    fn insert(&mut self, record: &Arc<Activation>) {
        let (start, id) = (record.start, record.id);
        if self.records.contains_key(&id) {
            return;
        }
        self.records.insert(id, record.clone());
        self.by_age.insert((start, id));
        self.by_namespace.insert((record.namespace.clone(), start, id), record.clone());
        self.by_name.insert((record.filter_name(), start, id), record.clone());
    }

    fn remove_oldest(&mut self) {
        let Some((start, id)) = self.by_age.pop_first() else { return };
        let Some(record) = self.records.remove(&id) else { return };
        self.by_namespace.remove(&(record.namespace.clone(), start, id));
        self.by_name.remove(&(record.filter_name(), start, id));
    }

    /// What a query finds, newest first.
    fn find(&self, query: &ActivationQuery) -> Box<dyn Iterator<Item = &Arc<Activation>> + '_> {
        let (first, last) = (ActivationId::from_bytes([0; 16]), ActivationId::from_bytes([0xff; 16]));
        let (since, upto) = (query.since.unwrap_or(0), query.upto.unwrap_or(Millis::MAX));
        match &query.name {
            _ if since > upto => Box::new(std::iter::empty()),
            Some(name) if name.path.namespace != query.namespace => Box::new(std::iter::empty()),
            Some(name) => {
                let range = (name.clone(), since, first)..=(name.clone(), upto, last);
                Box::new(self.by_name.range(range).rev().map(|(_, record)| record))
            }
            None => {
                let range = (query.namespace.clone(), since, first)..=(query.namespace.clone(), upto, last);
                Box::new(self.by_namespace.range(range).rev().map(|(_, record)| record))
            }
        }
    }
}

#[async_trait]
impl Activations for Memory {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        let mut state = lock(&self.activations);
        records.iter().for_each(|record| state.insert(record));
        Ok(())
    }

    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        let state = lock(&self.activations);
        let record = state.records.get(&id).filter(|record| record.namespace == *namespace);
        record.map(|record| Activation::clone(record)).ok_or(Error::Missing)
    }

    async fn known(&self, _namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        let state = lock(&self.activations);
        Ok(ids.iter().copied().filter(|id| state.records.contains_key(id)).collect())
    }

    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        let (skip, limit) = bounds(page);
        let state = lock(&self.activations);
        Ok(state.find(query).skip(skip).take(limit).map(|record| Summary::from(&**record)).collect())
    }

    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        let (skip, limit) = bounds(page);
        let state = lock(&self.activations);
        let records: Vec<_> = state.find(query).skip(skip).take(limit).collect();
        if records.iter().map(|record| record.bulk_bytes()).sum::<u64>() > max_bytes {
            return Err(Error::TooLarge(max_bytes));
        }
        Ok(records.into_iter().map(|record| Activation::clone(record)).collect())
    }

    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        Ok(lock(&self.activations).find(query).count() as u64)
    }

    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        let mut state = lock(&self.activations);
        let surplus = |state: &State| {
            let old = state.by_age.first().is_some_and(|&(start, _)| start < retention.not_before);
            old || state.by_age.len() as u64 > retention.max_count
        };
        let mut gone = 0;
        while gone < PRUNE_STEP && surplus(&state) {
            state.remove_oldest();
            gone += 1;
        }
        Ok(gone as u64)
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        let state = lock(&self.activations);
        let rest = state.records.range((key_of::<ActivationId>(after)?, Bound::Unbounded));
        let rest = rest.map(|(id, record)| (id.to_string(), record.bulk_bytes(), Activation::clone(record)));
        Ok(portion_of(rest, portion))
    }
}
