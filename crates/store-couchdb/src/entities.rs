//! Actions, packages, triggers and rules.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use whisker_documents::{
    code::{self, Code, Packed, Place},
    corrupt,
    shape::{CodeMember, Held, code_of, text_or_hash, write},
};
use whisker_entity::{CodeHash, EntityPath, ExecCode, QualifiedName};
use whisker_store::{Changes, Collection, Cursor, Document, Entities, Error, Page, Portion, Revision, Scan, Stored};

use crate::{
    CouchDb,
    database::{Query, Rows},
    designs,
    error::Failure,
    scan,
};

/// Code of so many bytes is packed on a thread of its own, and not uploaded
/// before it is known that its writer does not come too late.
const LARGE: usize = 256 * 1024;

#[async_trait]
impl Entities for CouchDb {
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error> {
        Ok(self.held(&name.to_string()).await?.stored)
    }

    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let id = document.qualified_name().to_string();
        check_id(&id)?;
        let held = match based_on {
            Some(revision) => Some(self.held_as(&id, revision, document.collection()).await?),
            None => None,
        };
        let (code, hash) = self.code_member(&id, document, held.as_ref()).await?;
        let written = write(document, held, code).map_err(|e| corrupt(&id, e))?;
        let revision = self.whisks.put(&id, written).await.map_err(|failure| match failure.into() {
            // The database itself is gone, or so the answer says.
            Error::Missing => Error::Unavailable("the database is not there".into()),
            error => error,
        })?;
        if let Some(hash) = hash {
            self.places.note(hash, &id);
        }
        Ok(Revision(revision.into()))
    }

    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let id = name.to_string();
        let there = self.whisks.get(&id).await?.ok_or(Error::Missing)?;
        let there: Value = serde_json::from_slice(&there).map_err(Failure::Nonsense)?;
        if there["_rev"].as_str() != Some(&based_on.0) {
            return Err(Error::Stale);
        }
        Ok(self.whisks.delete(&id, &based_on.0).await?)
    }

    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error> {
        let Some(query) = paged(page) else { return Ok(Vec::new()) };
        let path = path.to_string();
        let query = query
            .with("startkey", json!([path, {}]))
            .with("endkey", json!([path]))
            .with("descending", true)
            .with("include_docs", true)
            .with("reduce", false);
        let rows: Rows<Value> = self.whisks.view(view(collection), query).await?;
        let held = rows.rows.into_iter().filter_map(|row| Some(Held::read(&row.id, row.doc?)));
        let documents = held.filter_map(|held| match held {
            Ok(held) => Some(self.noted(held).document),
            // One document that cannot be read does not hide the others.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "left out of a list");
                None
            }
        });
        Ok(documents.collect())
    }

    async fn count(&self, collection: Collection, path: &EntityPath) -> Result<u64, Error> {
        let path = path.to_string();
        let query = Query::default().with("startkey", json!([path])).with("endkey", json!([path, {}]));
        let rows: Rows<u64> = self.whisks.view(view(collection), query.with("reduce", true)).await?;
        Ok(rows.rows.first().and_then(|row| row.value).unwrap_or(0))
    }

    async fn code(&self, hash: CodeHash) -> Result<Arc<str>, Error> {
        let known = self.places.of(hash);
        for id in known.iter().rev() {
            match self.code_in(id, hash).await {
                Err(Error::Missing) => self.places.forget(hash, id),
                other => return other,
            }
        }
        Err(Error::Missing)
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Stored>, Error> {
        let step = scan::step(&self.whisks, after, portion, |id, document| {
            let held = Held::read(id, document);
            // Whoever copies or checks wants to know.
            Some(held.and_then(|held| held.without_code().map_or(Ok(held), Err)))
        });
        let Scan { items, next } = step.await?;
        let mut named = Vec::with_capacity(items.len());
        for item in items {
            named.push(match item {
                Ok(held) => self.named_by_text(held).await,
                Err(error) => Err(error),
            });
        }
        Ok(Scan { items: named, next })
    }

    fn changes(&self) -> Changes {
        self.whisks_feed.changes()
    }
}

impl CouchDb {
    async fn held(&self, id: &str) -> Result<Held, Error> {
        let text = self.whisks.get(id).await?.ok_or(Error::Missing)?;
        let document = serde_json::from_slice(&text).map_err(|e| corrupt(id, e))?;
        let held = Held::read(id, document)?;
        if let Some(code) = &held.code {
            self.places.note(code.hash, id);
        }
        Ok(held)
    }

    /// What is held under an id, where it is in this state and of this kind.
    async fn held_as(&self, id: &str, revision: &Revision, collection: Collection) -> Result<Held, Error> {
        let held = match self.held(id).await {
            Err(Error::Missing) => return Err(Error::Stale),
            other => other?,
        };
        let same = held.stored.revision == *revision && held.stored.document.collection() == collection;
        if same { Ok(held) } else { Err(Error::Stale) }
    }

    fn noted(&self, held: Held) -> Stored {
        if let Some(code) = &held.code {
            self.places.note(code.hash, &held.stored.document.qualified_name().to_string());
        }
        held.stored
    }

    /// What is written of the code, and how it is found again.
    async fn code_member(
        &self,
        id: &str,
        document: &Document,
        held: Option<&Held>,
    ) -> Result<(CodeMember, Option<CodeHash>), Error> {
        let Some((code, binary)) = code_of(document) else { return Ok((CodeMember::None, None)) };
        let held = held.and_then(|held| held.code.as_ref()).filter(|held| held.binary == binary);
        let text = match text_or_hash(code) {
            Ok(text) => text,
            Err(hash) if held.is_some_and(|held| held.hash == hash) => return Ok((CodeMember::Kept, Some(hash))),
            // It is another action's: a document of its own gets a copy.
            Err(hash) => self.code(hash).await?,
        };
        let Packed { hash, code, attachments } = if text.len() < LARGE {
            code::pack(&text, binary).map_err(|e| corrupt(id, e))?
        } else {
            if held.is_none() && self.whisks.has(id).await? {
                return Err(Error::Stale);
            }
            let packed = tokio::task::spawn_blocking(move || code::pack(&text, binary)).await;
            packed.map_err(|e| Error::Unavailable(e.into()))?.map_err(|e| corrupt(id, e))?
        };
        Ok((CodeMember::New(code, attachments), Some(hash)))
    }

    /// With the hash of the code's text, also where OpenWhisk attached it: who
    /// reads everything compares hashes, and reads the code as well.
    async fn named_by_text(&self, held: Held) -> Result<Stored, Error> {
        let Some(code) = held.code.clone().filter(|code| !code.of_text) else { return Ok(self.noted(held)) };
        let mut stored = self.noted(held);
        let id = stored.document.qualified_name().to_string();
        let text = self.text(&id, code).await?;
        let attached = ExecCode::Attached { hash: CodeHash::of(&text), length: text.len() as u64 };
        self.places.note(attached.hash(), &id);
        if let Document::Action(action) = &mut stored.document
            && let Some(code) = action.exec.code_mut()
        {
            *code = attached;
        }
        Ok(stored)
    }

    /// The code that a document has, if it is this.
    async fn code_in(&self, id: &str, hash: CodeHash) -> Result<Arc<str>, Error> {
        let code = self.held(id).await?.code.ok_or(Error::Missing)?;
        let (same, of_text) = (code.hash == hash, code.of_text);
        if !same && of_text {
            return Err(Error::Missing);
        }
        let text = self.text(id, code).await?;
        if same || CodeHash::of(&text) == hash { Ok(text) } else { Err(Error::Missing) }
    }

    async fn text(&self, id: &str, code: Code) -> Result<Arc<str>, Error> {
        match code.place {
            Place::Here(text) => Ok(text),
            Place::Attached { name, .. } => {
                let bytes = self.whisks.attachment(id, &name).await?.ok_or(Error::Missing)?;
                Ok(code::text_of(bytes.into(), code.binary).map_err(|e| corrupt(id, e))?.into())
            }
        }
    }
}

fn view(collection: Collection) -> &'static str {
    match collection {
        Collection::Actions => designs::ACTIONS,
        Collection::Packages => designs::PACKAGES,
        Collection::PublicPackages => designs::PUBLIC_PACKAGES,
        Collection::Triggers => designs::TRIGGERS,
        Collection::Rules => designs::RULES,
    }
}

/// A page's bounds; `None` where nothing is in it.
pub(crate) fn paged(page: Page) -> Option<Query> {
    // Numbers that JavaScript counts exactly, and CouchDB without strain.
    const MOST: u64 = 1 << 40;
    if page.limit == 0 || page.skip >= MOST {
        return None;
    }
    let query = if page.skip == 0 { Query::default() } else { Query::default().with("skip", page.skip) };
    Some(if page.limit >= MOST { query } else { query.with("limit", page.limit) })
}

#[derive(Debug, thiserror::Error)]
#[error("CouchDB keeps ids that begin with _ for itself")]
struct Reserved;

/// Whether CouchDB takes a document of this id.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    if id.starts_with('_') { Err(corrupt(id, Reserved)) } else { Ok(()) }
}
