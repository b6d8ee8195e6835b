//! Actions, packages, triggers and rules.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use whisker_documents::{
    code::{self, Code},
    corrupt,
    shape::{CodeMember, Held, code_of, text_or_hash, write},
};
use whisker_entity::{CodeHash, EntityPath, QualifiedName};
use whisker_store::{Changes, Collection, Cursor, Document, Entities, Error, Page, Portion, Revision, Scan, Stored};

use crate::{
    Cosmos,
    code::{Pieces, attached, detached},
    container::{escaped, seen},
    cosmos::tombstone,
    query::{NOT_DELETED, Order, Query, Row},
};

/// Code of so many bytes is packed on a thread of its own, and not uploaded
/// before it is known that its writer does not come too late.
const LARGE: usize = 256 * 1024;

#[async_trait]
impl Entities for Cosmos {
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error> {
        Ok(self.held(&name.to_string()).await?.stored)
    }

    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let id = document.qualified_name().to_string();
        let key = escaped(&id)?;
        let held = match based_on {
            Some(revision) => Some(self.held_as(&id, revision, document.collection()).await?),
            None => None,
        };
        let (code, hash, new) = self.code_member(&id, document, held.as_ref()).await?;
        // What it had, unless it keeps it.
        let old = match &code {
            CodeMember::Kept => None,
            CodeMember::None | CodeMember::New(..) => {
                held.as_ref().and_then(|held| held.code.as_ref()).and_then(Pieces::of)
            }
        };
        let text = write(document, held, code).map_err(|e| corrupt(&id, e))?;
        let text = kept(&id, &key, document, &text)?;
        let written = match based_on {
            Some(revision) => self.whisks.replace(&key, &revision.0, text).await,
            None => self.whisks.put_new(&key, text).await,
        };
        let revision = match written.map_err(Error::from) {
            Ok(revision) => revision,
            Err(error) => {
                let error = match error {
                    // It went while it was written.
                    Error::Missing if based_on.is_some() => Error::Stale,
                    Error::Missing => Error::Unavailable("the container is not there".into()),
                    other => other,
                };
                // Where it is not known what became of it, the document may name them.
                if let (Error::Stale, Some(new)) = (&error, &new) {
                    self.drop_pieces(new).await;
                }
                return Err(error);
            }
        };
        if let Some(old) = &old {
            self.drop_pieces(old).await;
        }
        if let Some(hash) = hash {
            self.places.note(hash, &id);
        }
        Ok(Revision(revision.into()))
    }

    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let id = name.to_string();
        let key = escaped(&id)?;
        let found = self.whisks.get(&key).await?.filter(|found| !found.deleted).ok_or(Error::Missing)?;
        if *found.etag != *based_on.0 {
            return Err(Error::Stale);
        }
        // One that cannot be understood can be deleted too.
        let pieces = self.read(&id, &found.text).ok().and_then(|held| Pieces::of(held.code.as_ref()?));
        self.whisks.replace(&key, &found.etag, tombstone(&key)).await?;
        if let Some(pieces) = &pieces {
            self.drop_pieces(pieces).await;
        }
        Ok(())
    }

    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error> {
        let query = listed("*", collection, path);
        let (rows, _) = self.whisks.select(&query, Order::Newest("updated"), page, u64::MAX).await?;
        let documents = rows.iter().filter_map(|row| match self.read(&row.id, row.text.get().as_bytes()) {
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
        Ok(self.whisks.count(&listed("VALUE COUNT(1)", collection, path)).await?)
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
        let (rows, next) = self.whisks.step(after, portion).await?;
        let items = rows.iter().map(|row| self.read(&row.id, row.text.get().as_bytes()).map(|held| self.noted(held)));
        Ok(Scan { items: items.collect(), next })
    }

    fn changes(&self) -> Changes {
        self.whisks_feed.changes()
    }
}

impl Cosmos {
    fn read(&self, id: &str, text: &[u8]) -> Result<Held, Error> {
        let document: Map<String, Value> = serde_json::from_slice(text).map_err(|e| corrupt(id, e))?;
        let mut document = seen(document, true);
        attached(&mut document);
        Held::read(id, Value::Object(document))
    }

    async fn held(&self, id: &str) -> Result<Held, Error> {
        let found = self.whisks.get(&escaped(id)?).await?.filter(|found| !found.deleted).ok_or(Error::Missing)?;
        let held = self.read(id, &found.text)?;
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

    /// What is written of the code, how it is found again, and the pieces that
    /// were written for it.
    async fn code_member(
        &self,
        id: &str,
        document: &Document,
        held: Option<&Held>,
    ) -> Result<(CodeMember, Option<CodeHash>, Option<Pieces>), Error> {
        let Some((code, binary)) = code_of(document) else { return Ok((CodeMember::None, None, None)) };
        let had = held.and_then(|held| held.code.as_ref()).filter(|had| had.binary == binary);
        let text = match text_or_hash(code) {
            Ok(text) => text,
            Err(hash) if had.is_some_and(|had| had.hash == hash) => return Ok((CodeMember::Kept, Some(hash), None)),
            // It is another action's: a document of its own gets a copy.
            Err(hash) => self.code(hash).await?,
        };
        let mut packed = if text.len() < LARGE {
            code::pack(&text, binary).map_err(|e| corrupt(id, e))?
        } else {
            if held.is_none() && self.whisks.get(&escaped(id)?).await?.is_some_and(|found| !found.deleted) {
                return Err(Error::Stale);
            }
            let packed = tokio::task::spawn_blocking(move || code::pack(&text, binary)).await;
            packed.map_err(|e| Error::Unavailable(e.into()))?.map_err(|e| corrupt(id, e))?
        };
        let pieces = self.attach(id, &mut packed).await?;
        Ok((CodeMember::New(packed.code, Map::new()), Some(packed.hash), pieces))
    }

    /// The code that a document has, if it is this.
    async fn code_in(&self, id: &str, hash: CodeHash) -> Result<Arc<str>, Error> {
        let code: Code = self.held(id).await?.code.ok_or(Error::Missing)?;
        if code.hash != hash {
            return Err(Error::Missing);
        }
        self.text(id, code).await
    }
}

/// The document of an entity, as Cosmos DB keeps it.
fn kept(id: &str, key: &str, entity: &Document, text: &str) -> Result<String, Error> {
    let mut document: Map<String, Value> = serde_json::from_str(text).map_err(|e| corrupt(id, e))?;
    document.remove("_id");
    document.remove("_rev");
    detached(&mut document);
    document.insert("id".into(), json!(key));
    document.insert("_c".into(), json!({"rootns": entity.qualified_name().path.namespace}));
    serde_json::to_string(&document).map_err(|e| corrupt(id, e))
}

/// What OpenWhisk's views list, as its queries say it.
fn listed(what: &str, collection: Collection, path: &EntityPath) -> Query {
    let kind = match collection {
        Collection::Actions => "action",
        Collection::Packages | Collection::PublicPackages => "package",
        Collection::Triggers => "trigger",
        Collection::Rules => "rule",
    };
    // Packages have nothing in them but actions.
    let path_is = match collection {
        Collection::Actions => "(r.namespace = @path OR r._c.rootns = @path)",
        _ => "r.namespace = @path",
    };
    let public = match collection {
        Collection::PublicPackages => " AND r.publish = true AND (NOT IS_OBJECT(r.binding) OR r.binding = {})",
        _ => "",
    };
    let text = format!("SELECT {what} FROM root r WHERE {NOT_DELETED} AND r.entityType = @kind AND {path_is}{public}");
    Query::new(text).with("kind", kind).with("path", path.to_string())
}

impl crate::container::Container {
    /// One step through all documents, in the order of their ids.
    pub(crate) async fn step(
        &self,
        after: Option<&Cursor>,
        portion: Portion,
    ) -> Result<(Vec<Row>, Option<Cursor>), Error> {
        let mut query = Query::new(format!("SELECT * FROM root r WHERE {NOT_DELETED}"));
        if let Some(after) = after {
            query = Query::new(format!("SELECT * FROM root r WHERE {NOT_DELETED} AND r.id > @after"))
                .with("after", &*after.0);
        }
        let page = Page { skip: 0, limit: portion.limit.max(1) };
        let (rows, more) = self.select(&query, Order::ById, page, portion.max_bytes).await?;
        let next = rows.last().filter(|_| more).map(|row| Cursor(row.id.replace('/', "|").into()));
        Ok((rows, next))
    }
}
