//! Documents, their lists, and their code.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use whisker_entity::{CodeHash, EntityPath, Exec, ExecCode, QualifiedName};
use whisker_store::{Changes, Collection, Cursor, Document, Entities, Error, Page, Portion, Revision, Scan, Stored};

use crate::{
    Postgres,
    changes::{self, CHANNEL},
    error::{corrupt, database},
    lease::Lease,
    scan,
};

/// Code beyond so many bytes is hashed where that holds up nobody.
const QUICK_BYTES: usize = 64 * 1024;

#[async_trait]
impl Entities for Postgres {
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error> {
        let name = name.to_string();
        let get = async {
            let lease = self.lease().await?;
            let row = lease
                .find("SELECT collection, name, document, revision FROM entities WHERE name = $1", &[&name])
                .await?;
            lease.done();
            row.ok_or(Error::Missing)
        };
        stored(&self.answered(get).await?)
    }

    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let entity = match hashing_takes_long(document) {
            false => Entity::of(document)?,
            true => {
                let document = document.clone();
                let entity = tokio::task::spawn_blocking(move || Entity::of(&document));
                entity.await.map_err(|e| Error::Unavailable(e.into()))??
            }
        };
        let based_on = based_on.map(number_of);
        self.answered(async {
            let lease = self.begin().await?;
            let put = entity.put(&lease, based_on).await;
            lease.end(put).await
        })
        .await
    }

    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let (name, based_on) = (name.to_string(), number_of(based_on));
        self.answered(async {
            let lease = self.begin().await?;
            let deleted = delete(&lease, &name, based_on).await;
            lease.end(deleted).await
        })
        .await
    }

    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error> {
        let (path, (skip, limit)) = (path.to_string(), bounds(page));
        let list = async {
            let lease = self.lease().await?;
            // The page is cut before documents are looked up.
            let rows = lease
                .query(
                    "SELECT e.collection, e.name, e.document
                    FROM (SELECT updated, name FROM listed WHERE path = $1 AND collection = $2
                          ORDER BY updated DESC, name DESC LIMIT $3 OFFSET $4) AS page
                    JOIN entities AS e ON e.name = page.name
                    ORDER BY page.updated DESC, page.name DESC",
                    &[&path, &number(collection), &limit, &skip],
                )
                .await?;
            lease.done();
            Ok(rows)
        };
        self.answered(list).await?.iter().map(document).collect()
    }

    async fn count(&self, collection: Collection, path: &EntityPath) -> Result<u64, Error> {
        let path = path.to_string();
        let count = async {
            let lease = self.lease().await?;
            let row = lease
                .find("SELECT count(*) FROM listed WHERE path = $1 AND collection = $2", &[&path, &number(collection)])
                .await?;
            lease.done();
            Ok(row.map_or(0, |row| row.get::<_, i64>(0)))
        };
        self.answered(count).await.map(|count| count.max(0) as u64)
    }

    async fn code(&self, hash: CodeHash) -> Result<Arc<str>, Error> {
        let read = async {
            let lease = self.lease().await?;
            let row = lease.find("SELECT text FROM code WHERE hash = $1", &[&&hash.to_bytes()[..]]).await?;
            lease.done();
            row.ok_or(Error::Missing)
        };
        let row = self.answered(read).await?;
        let text: &[u8] = row.try_get(0).map_err(database)?;
        std::str::from_utf8(text).map(Arc::from).map_err(|e| corrupt(hash, e))
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Stored>, Error> {
        scan::entities(self, after, portion).await
    }

    fn changes(&self) -> Changes {
        self.news.of_documents()
    }
}

/// A document, made ready to be written.
struct Entity {
    name: String,
    collection: i16,
    updated: i64,
    paths: Vec<String>,
    collections: Vec<i16>,
    document: String,
    code: Option<[u8; 32]>,
    /// The code itself, where it was uploaded.
    upload: Option<Arc<str>>,
}

impl Entity {
    fn of(document: &Document) -> Result<Self, Error> {
        let (document, code) = document.detach();
        let name = document.qualified_name().to_string();
        let lists = document.lists();
        Ok(Self {
            collection: number(document.collection()),
            updated: i64::try_from(document.updated()).unwrap_or(i64::MAX),
            paths: lists.iter().map(|(_, path)| path.to_string()).collect(),
            collections: lists.iter().map(|(list, _)| number(*list)).collect(),
            document: serde_json::to_string(&document).map_err(|e| corrupt(&name, e))?,
            code: document.exec().and_then(Exec::code).map(ExecCode::hash).map(CodeHash::to_bytes),
            upload: code.map(|(_, text)| text),
            name,
        })
    }

    async fn put(&self, lease: &Lease, based_on: Option<Option<i64>>) -> Result<Revision, Error> {
        let held = Held::find(lease, &self.name).await?;
        let same = match (&held, based_on) {
            (None, None) => true,
            (Some(held), Some(revision)) => Some(held.revision) == revision && held.collection == self.collection,
            _ => false,
        };
        if !same {
            return Err(Error::Stale);
        }
        let old =
            held.and_then(|held| held.code).filter(|old| Some(&old[..]) != self.code.as_ref().map(|new| &new[..]));
        hold_code(lease, self.code.as_ref().map(|code| &code[..]), old.as_deref()).await?;
        match (&self.code, &self.upload) {
            (Some(hash), Some(text)) => {
                let there = lease.find("SELECT FROM code WHERE hash = $1", &[&&hash[..]]).await?.is_some();
                if !there {
                    let insert = "INSERT INTO code (hash, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                    lease.execute(insert, &[&&hash[..], &text.as_bytes()]).await?;
                }
            }
            (Some(hash), None) => {
                lease.find("SELECT FROM code WHERE hash = $1", &[&&hash[..]]).await?.ok_or(Error::Missing)?;
            }
            (None, _) => {}
        }
        let code = self.code.as_ref().map(|code| &code[..]);
        let written = match based_on {
            Some(_) => {
                lease
                    .find(
                        "UPDATE entities SET revision = nextval('revisions'), code = $2, document = $3
                        WHERE name = $1 RETURNING revision",
                        &[&self.name, &code, &self.document],
                    )
                    .await?
            }
            None => {
                lease
                    .find(
                        "INSERT INTO entities (name, collection, revision, code, document)
                        VALUES ($1, $2, nextval('revisions'), $3, $4) ON CONFLICT DO NOTHING RETURNING revision",
                        &[&self.name, &self.collection, &code, &self.document],
                    )
                    .await?
            }
        };
        // Another created it between the look and the write.
        let revision: i64 = written.ok_or(Error::Stale)?.get(0);
        if based_on.is_some() {
            lease.execute("DELETE FROM listed WHERE name = $1", &[&self.name]).await?;
        }
        lease
            .execute(
                "INSERT INTO listed (path, collection, updated, name)
                SELECT l.path, l.collection, $3, $4 FROM unnest($1::text[], $2::smallint[]) AS l (path, collection)",
                &[&self.paths, &self.collections, &self.updated, &self.name],
            )
            .await?;
        collect(lease, old.as_deref()).await?;
        tell(lease, &self.name).await?;
        Ok(shown(revision))
    }
}

async fn delete(lease: &Lease, name: &str, based_on: Option<i64>) -> Result<(), Error> {
    let held = Held::find(lease, name).await?.ok_or(Error::Missing)?;
    if Some(held.revision) != based_on {
        return Err(Error::Stale);
    }
    hold_code(lease, None, held.code.as_deref()).await?;
    lease.execute("DELETE FROM listed WHERE name = $1", &[&name]).await?;
    lease.execute("DELETE FROM entities WHERE name = $1", &[&name]).await?;
    collect(lease, held.code.as_deref()).await?;
    tell(lease, name).await
}

/// Tells the servers, once the transaction is committed.
async fn tell(lease: &Lease, name: &str) -> Result<(), Error> {
    lease.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &changes::of_document(name)]).await.map(drop)
}

/// What is stored under a name. The row is this transaction's until its end.
struct Held {
    collection: i16,
    revision: i64,
    code: Option<Vec<u8>>,
}

impl Held {
    async fn find(lease: &Lease, name: &str) -> Result<Option<Self>, Error> {
        let sql = "SELECT collection, revision, code FROM entities WHERE name = $1 FOR UPDATE";
        let row = lease.find(sql, &[&name]).await?;
        Ok(row.map(|row| Self { collection: row.get(0), revision: row.get(1), code: row.get(2) }))
    }
}

/// Waits until no other transaction attaches or takes away this code: one that
/// attaches it would not be seen by one that looks whether anyone uses it.
///
/// Locks are taken in order, and after that of the document's row. A new row,
/// at which writers can meet too, comes after these: so there is no circle.
async fn hold_code(lease: &Lease, new: Option<&[u8]>, old: Option<&[u8]>) -> Result<(), Error> {
    let mut hashes: Vec<_> = [new, old].into_iter().flatten().collect();
    hashes.sort_unstable();
    for hash in hashes {
        let first = hash.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        lease.execute("SELECT pg_advisory_xact_lock($1)", &[&first]).await?;
    }
    Ok(())
}

/// Forgets code that nobody uses any more.
async fn collect(lease: &Lease, hash: Option<&[u8]>) -> Result<(), Error> {
    let Some(hash) = hash else { return Ok(()) };
    let sql = "DELETE FROM code WHERE hash = $1 AND NOT EXISTS (SELECT FROM entities WHERE code = $1)";
    lease.execute(sql, &[&hash]).await.map(drop)
}

/// Whether the code is so long that hashing it would hold up other tasks.
fn hashing_takes_long(document: &Document) -> bool {
    let code = document.exec().and_then(Exec::code);
    matches!(code, Some(ExecCode::Inline(text)) if text.len() > QUICK_BYTES)
}

fn shown(revision: i64) -> Revision {
    Revision(revision.to_string().into())
}

/// The number of a revision; `None` for one that is none of ours, which nothing
/// has.
fn number_of(revision: &Revision) -> Option<i64> {
    revision.0.parse().ok()
}

/// The numbers of the schema.
fn number(collection: Collection) -> i16 {
    match collection {
        Collection::Actions => 0,
        Collection::Packages => 1,
        Collection::Triggers => 2,
        Collection::Rules => 3,
        Collection::PublicPackages => 4,
    }
}

/// Reads a document from a row that begins with its collection, name and text.
fn document(row: &Row) -> Result<Document, Error> {
    let text: &str = row.try_get(2).map_err(database)?;
    let read = match row.try_get::<_, i16>(0).map_err(database)? {
        0 => serde_json::from_str(text).map(Document::Action),
        1 => serde_json::from_str(text).map(Document::Package),
        2 => serde_json::from_str(text).map(Document::Trigger),
        _ => serde_json::from_str(text).map(Document::Rule),
    };
    read.map_err(|e| corrupt(row.try_get::<_, &str>(1).unwrap_or_default(), e))
}

/// The same with its revision behind it.
pub(crate) fn stored(row: &Row) -> Result<Stored, Error> {
    Ok(Stored { document: document(row)?, revision: shown(row.try_get(3).map_err(database)?) })
}

/// A page's bounds as the database takes them.
pub(crate) fn bounds(page: Page) -> (i64, i64) {
    let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    (bound(page.skip), bound(page.limit))
}
