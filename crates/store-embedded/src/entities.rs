//! Documents, their lists, and their code.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use whisker_entity::{CodeHash, EntityPath, Exec, ExecCode, QualifiedName};
use whisker_store::{Collection, Cursor, Document, Entities, Error, Page, Portion, Revision, Scan, Stored};

use crate::{
    Embedded,
    code::{self, Upload},
    error::{corrupt, database},
    readers::QUICK_BYTES,
    scan,
    writer::Changes,
};

#[async_trait]
impl Entities for Embedded {
    async fn get(&self, name: &QualifiedName) -> Result<Stored, Error> {
        let name = name.to_string();
        if let Some(stored) = self.readers().quick(|connection| get(connection, &name, QUICK_BYTES))? {
            return Ok(stored);
        }
        self.readers().long(move |connection| get(connection, &name, i64::MAX)).await?.ok_or(Error::Missing)
    }

    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let based_on = based_on.cloned();
        let entity = match hashing_takes_long(document) {
            false => Entity::of(document)?,
            true => {
                let document = document.clone();
                let entity = tokio::task::spawn_blocking(move || Entity::of(&document));
                entity.await.map_err(|e| Error::Unavailable(e.into()))??
            }
        };
        let Some(upload) = entity.upload.clone().filter(Upload::is_large) else {
            return self.writer().write(entity.bytes(), move |changes| entity.put(changes, based_on.as_ref())).await;
        };
        // A writer that comes too late is told so before it uploads.
        self.readers().quick(|connection| entity.check(connection, based_on.as_ref()))?;
        self.has_room_for(&upload)?;
        let staging = upload.staging(self.writer());
        let put = async {
            upload.stage(self.writer()).await?;
            self.writer().write(0, move |changes| entity.put(changes, based_on.as_ref())).await
        };
        let put = put.await;
        if put.is_err()
            && let Err(e) = upload.unstage(self.writer()).await
        {
            tracing::warn!(error = %e, "staged code is left until the next start");
        }
        staging.ended();
        put
    }

    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), Error> {
        let (name, based_on) = (name.to_string(), based_on.clone());
        self.writer().write(0, move |changes| delete(&changes.connection, &name, &based_on)).await
    }

    async fn list(&self, collection: Collection, path: &EntityPath, page: Page) -> Result<Vec<Document>, Error> {
        let (path, (skip, limit)) = (path.to_string(), bounds(page));
        let read = move |connection: &Connection| {
            // The page is cut before documents are looked up.
            let mut select = connection.prepare_cached(
                "SELECT e.collection, e.name, e.document
                FROM (SELECT updated, name, entity FROM listed
                      WHERE list = (SELECT id FROM lists WHERE path = ? AND collection = ?)
                      ORDER BY updated DESC, name DESC LIMIT ? OFFSET ?) AS page
                JOIN entities AS e ON e.id = page.entity
                ORDER BY page.updated DESC, page.name DESC",
            )?;
            let mut rows = select.query(params![path, number(collection), limit, skip])?;
            let mut list = Vec::new();
            while let Some(row) = rows.next()? {
                list.push(document(row));
            }
            Ok(list)
        };
        let list = self.readers().long(move |connection| read(connection).map_err(database)).await?;
        list.into_iter().collect()
    }

    async fn count(&self, collection: Collection, path: &EntityPath) -> Result<u64, Error> {
        let path = path.to_string();
        self.readers().quick(|connection| {
            let mut select = connection
                .prepare_cached("SELECT length FROM lists WHERE path = ? AND collection = ?")
                .map_err(database)?;
            let length = select.query_row(params![path, number(collection)], |row| row.get::<_, i64>(0)).optional();
            length.map(|length| length.unwrap_or(0).max(0) as u64).map_err(database)
        })
    }

    async fn code(&self, hash: CodeHash) -> Result<Arc<str>, Error> {
        self.readers().long(move |connection| code::read(connection, hash)).await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Stored>, Error> {
        let after = after.map(|cursor| cursor.0.clone());
        self.readers().long(move |connection| scan::entities(connection, after.as_deref(), portion)).await
    }
}

/// `None` if the document is larger than that.
fn get(connection: &Connection, name: &str, largest: i64) -> Result<Option<Stored>, Error> {
    let mut select = connection
        .prepare_cached(
            "SELECT collection, name, iif(octet_length(document) <= ?2, document, NULL), revision
            FROM entities WHERE name = ?1",
        )
        .map_err(database)?;
    let mut rows = select.query(params![name, largest]).map_err(database)?;
    let row = rows.next().map_err(database)?.ok_or(Error::Missing)?;
    if row.get_ref(2).map_err(database)? == ValueRef::Null {
        return Ok(None);
    }
    let revision = shown(row.get(3).map_err(database)?);
    Ok(Some(Stored { document: document(row)?, revision }))
}

/// A document, made ready for the writer.
struct Entity {
    name: String,
    collection: i64,
    updated: i64,
    lists: Vec<(String, i64)>,
    document: String,
    code: Option<CodeHash>,
    /// The code itself, where it was uploaded.
    upload: Option<Upload>,
}

impl Entity {
    fn of(document: &Document) -> Result<Self, Error> {
        let (document, code) = document.detach();
        let name = document.qualified_name().to_string();
        Ok(Self {
            collection: number(document.collection()),
            updated: i64::try_from(document.updated()).unwrap_or(i64::MAX),
            lists: document.lists().into_iter().map(|(list, path)| (path.to_string(), number(list))).collect(),
            document: serde_json::to_string(&document).map_err(|e| corrupt(&name, e))?,
            code: document.exec().and_then(Exec::code).map(ExecCode::hash),
            upload: code.map(|(hash, text)| Upload { hash, text }),
            name,
        })
    }

    fn bytes(&self) -> usize {
        self.document.len() + self.upload.as_ref().map_or(0, |upload| upload.text.len())
    }

    /// What is held under the name, if this may take its place.
    fn check(&self, connection: &Connection, based_on: Option<&Revision>) -> Result<Option<Held>, Error> {
        let held = Held::find(connection, &self.name).map_err(database)?;
        let same = held.as_ref().map(|h| shown(h.revision)).as_ref() == based_on;
        if !same || held.as_ref().is_some_and(|h| h.collection != self.collection) {
            return Err(Error::Stale);
        }
        if let (Some(hash), None) = (self.code, &self.upload)
            && !code::is_used(connection, hash.to_bytes()).map_err(database)?
        {
            return Err(Error::Missing);
        }
        Ok(held)
    }

    fn put(&self, changes: &mut Changes, based_on: Option<&Revision>) -> Result<Revision, Error> {
        let held = self.check(&changes.connection, based_on)?;
        let revision = changes.next_revision();
        self.write(&changes.connection, held, revision).map_err(database)?;
        Ok(shown(revision))
    }

    fn write(&self, connection: &Connection, held: Option<Held>, revision: i64) -> rusqlite::Result<()> {
        let code = self.code.map(CodeHash::to_bytes);
        if let Some(upload) = &self.upload {
            upload.write(connection)?;
        }
        let entity = match &held {
            Some(held) => {
                unlist(connection, held.id)?;
                connection
                    .prepare_cached("UPDATE entities SET revision = ?, code = ?, document = ? WHERE id = ?")?
                    .execute(params![revision, code, self.document, held.id])?;
                held.id
            }
            None => connection
                .prepare_cached(
                    "INSERT INTO entities (name, collection, revision, code, document) VALUES (?, ?, ?, ?, ?)",
                )?
                .insert(params![self.name, self.collection, revision, code, self.document])?,
        };
        for (path, collection) in &self.lists {
            let list: i64 = connection
                .prepare_cached(
                    "INSERT INTO lists (path, collection, length) VALUES (?, ?, 1)
                    ON CONFLICT DO UPDATE SET length = length + 1 RETURNING id",
                )?
                .query_row(params![path, collection], |row| row.get(0))?;
            connection
                .prepare_cached("INSERT INTO listed (list, updated, name, entity) VALUES (?, ?, ?, ?)")?
                .execute(params![list, self.updated, self.name, entity])?;
        }
        let old = held.and_then(|held| held.code).filter(|old| Some(*old) != code);
        old.map_or(Ok(()), |old| code::collect(connection, old))
    }
}

fn delete(connection: &Connection, name: &str, based_on: &Revision) -> Result<(), Error> {
    let held = Held::find(connection, name).map_err(database)?.ok_or(Error::Missing)?;
    if shown(held.revision) != *based_on {
        return Err(Error::Stale);
    }
    let delete = || {
        unlist(connection, held.id)?;
        connection.prepare_cached("DELETE FROM entities WHERE id = ?")?.execute([held.id])?;
        held.code.map_or(Ok(()), |code| code::collect(connection, code))
    };
    delete().map_err(database)
}

/// What is stored under a name.
struct Held {
    id: i64,
    collection: i64,
    revision: i64,
    code: Option<[u8; 32]>,
}

impl Held {
    fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Self>> {
        let mut select =
            connection.prepare_cached("SELECT id, collection, revision, code FROM entities WHERE name = ?")?;
        let held = |row: &Row<'_>| {
            Ok(Self { id: row.get(0)?, collection: row.get(1)?, revision: row.get(2)?, code: row.get(3)? })
        };
        select.query_row([name], held).optional()
    }
}

/// Takes an entity out of its lists.
fn unlist(connection: &Connection, entity: i64) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM listed WHERE entity = ? RETURNING list")?;
    let lists = delete.query_map([entity], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for list in lists {
        connection.prepare_cached("UPDATE lists SET length = length - 1 WHERE id = ?")?.execute([list])?;
        connection.prepare_cached("DELETE FROM lists WHERE id = ? AND length = 0")?.execute([list])?;
    }
    Ok(())
}

/// Whether the code is so long that hashing it would hold up other tasks.
fn hashing_takes_long(document: &Document) -> bool {
    let code = document.exec().and_then(Exec::code);
    matches!(code, Some(ExecCode::Inline(text)) if text.len() > QUICK_BYTES as usize)
}

pub(crate) fn shown(revision: i64) -> Revision {
    Revision(revision.to_string().into())
}

/// The numbers of the schema.
fn number(collection: Collection) -> i64 {
    match collection {
        Collection::Actions => 0,
        Collection::Packages => 1,
        Collection::Triggers => 2,
        Collection::Rules => 3,
        Collection::PublicPackages => 4,
    }
}

/// Reads a document from a row that begins with its collection, name and text.
pub(crate) fn document(row: &Row<'_>) -> Result<Document, Error> {
    let text = row.get_ref(2).and_then(|value| Ok(value.as_str()?)).map_err(database)?;
    let read = match row.get::<_, i64>(0).map_err(database)? {
        0 => serde_json::from_str(text).map(Document::Action),
        1 => serde_json::from_str(text).map(Document::Package),
        2 => serde_json::from_str(text).map(Document::Trigger),
        _ => serde_json::from_str(text).map(Document::Rule),
    };
    read.map_err(|e| corrupt(row.get::<_, String>(1).unwrap_or_default(), e))
}

/// A page's bounds as SQLite takes them.
pub(crate) fn bounds(page: Page) -> (i64, i64) {
    let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    (bound(page.skip), bound(page.limit))
}
