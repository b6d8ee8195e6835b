//! Documents by name, lists by age, code by hash.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use whisker_entity::{CodeHash, EntityPath, ExecCode, Millis, QualifiedName};

use super::{Memory, bounds, key_of, lock, portion_of};
use crate::{Collection, Cursor, Document, Entities, Error, Page, Portion, Revision, Scan, Stored};

#[derive(Debug, Default)]
pub(super) struct State {
    documents: BTreeMap<QualifiedName, Stored>,
    lists: HashMap<(Collection, EntityPath), List>,
    code: HashMap<CodeHash, Code>,
    /// Writes so far: each makes one revision, so none is ever used twice.
    writes: u64,
}

/// What a document is taken to weigh in a scan; its code stays where it is.
const ASSUMED_BYTES: u64 = 1024;

/// Names, ordered by `updated`, then by their text.
type List = BTreeSet<(Millis, String, QualifiedName)>;

struct Code {
    text: Arc<str>,
    /// Documents that it is attached to.
    users: usize,
}

// Code may hold secrets.
impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code of {} bytes, {} users", self.text.len(), self.users)
    }
}

impl State {
    fn insert(&mut self, document: Document, revision: Revision) {
        let name = document.qualified_name();
        for list in document.lists() {
            let entry = (document.updated(), name.to_string(), name.clone());
            self.lists.entry(list).or_default().insert(entry);
        }
        if let Some(code) = code_of(&document).and_then(|hash| self.code.get_mut(&hash)) {
            code.users += 1;
        }
        self.documents.insert(name, Stored { document, revision });
    }

    /// Takes a document away; its code stays until [`State::collect`].
    fn remove(&mut self, name: &QualifiedName) -> Option<Document> {
        let Stored { document, .. } = self.documents.remove(name)?;
        for list in document.lists() {
            let Entry::Occupied(mut held) = self.lists.entry(list) else { continue };
            held.get_mut().remove(&(document.updated(), name.to_string(), name.clone()));
            if held.get().is_empty() {
                held.remove();
            }
        }
        if let Some(code) = code_of(&document).and_then(|hash| self.code.get_mut(&hash)) {
            code.users -= 1;
        }
        Some(document)
    }

    /// Forgets code that nobody uses any more.
    fn collect(&mut self, hash: Option<CodeHash>) {
        if let Some(hash) = hash
            && self.code.get(&hash).is_some_and(|code| code.users == 0)
        {
            self.code.remove(&hash);
        }
    }
}

fn code_of(document: &Document) -> Option<CodeHash> {
    document.exec()?.code().map(ExecCode::hash)
}

#[async_trait]
impl Entities for Memory {
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error> {
        lock(&self.entities).documents.get(name).cloned().ok_or(Error::Missing)
    }

    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let (document, code) = document.detach();
        let name = document.qualified_name();
        let mut state = lock(&self.entities);
        let held = state.documents.get(&name);
        if held.map(|h| &h.revision) != based_on
            || held.is_some_and(|h| h.document.collection() != document.collection())
        {
            return Err(Error::Stale);
        }
        match (code, code_of(&document)) {
            (Some((hash, text)), _) => drop(state.code.entry(hash).or_insert(Code { text, users: 0 })),
            (None, Some(hash)) if !state.code.contains_key(&hash) => return Err(Error::Missing),
            (None, _) => {}
        }
        let old = state.remove(&name);
        state.writes += 1;
        let revision = Revision(state.writes.to_string().into());
        state.insert(document, revision.clone());
        state.collect(old.as_ref().and_then(code_of));
        Ok(revision)
    }

    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let mut state = lock(&self.entities);
        if state.documents.get(name).ok_or(Error::Missing)?.revision != *based_on {
            return Err(Error::Stale);
        }
        let old = state.remove(name);
        state.collect(old.as_ref().and_then(code_of));
        Ok(())
    }

    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error> {
        let (skip, limit) = bounds(page);
        let state = lock(&self.entities);
        let listed = state.lists.get(&(collection, path.clone())).into_iter().flatten().rev();
        let names = listed.skip(skip).take(limit).map(|(_, _, name)| name);
        Ok(names.filter_map(|name| state.documents.get(name)).map(|stored| stored.document.clone()).collect())
    }

    async fn count(&self, collection: Collection, path: &EntityPath) -> Result<u64, Error> {
        let state = lock(&self.entities);
        Ok(state.lists.get(&(collection, path.clone())).map_or(0, |list| list.len() as u64))
    }

    async fn code(&self, hash: CodeHash) -> Result<Arc<str>, Error> {
        lock(&self.entities).code.get(&hash).map(|code| code.text.clone()).ok_or(Error::Missing)
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Stored>, Error> {
        let state = lock(&self.entities);
        let rest = state.documents.range((key_of::<QualifiedName>(after)?, Bound::Unbounded));
        Ok(portion_of(rest.map(|(name, stored)| (name.to_string(), ASSUMED_BYTES, stored.clone())), portion))
    }
}
