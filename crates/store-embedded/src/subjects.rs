//! Subjects, whose each namespace is, and the limits of namespaces.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use whisker_entity::{EntityName, Identity, Namespace, NamespaceLimits, Subject};
use whisker_secrets::Seals;
use whisker_store::{Cursor, Error, Portion, Registered, Renewed, Scan, Subjects, sealed};

use crate::{
    Embedded, checkpoint,
    error::{corrupt, database},
    scan,
};

#[async_trait]
impl Subjects for Embedded {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        let wanted = |n: &Namespace| n.key.uuid() == uuid;
        self.readers().quick(|connection| {
            for name in self.seals.names(uuid) {
                match identity(connection, &self.seals, "n.uuid = ?", &name, wanted) {
                    Err(Error::Missing) => {}
                    found => return found,
                }
            }
            Err(Error::Missing)
        })
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        let name = namespace.as_str();
        self.readers()
            .quick(|connection| identity(connection, &self.seals, "n.name = ?", name, |n| n.name == *namespace))
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        self.readers().quick(|connection| {
            let mut select =
                connection.prepare_cached("SELECT document FROM subjects WHERE name = ?").map_err(database)?;
            let text: String = select.query_row([subject], |row| row.get(0)).map_err(database)?;
            sealed::subject(&self.seals, subject, &text)
        })
    }

    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        let mut seen = (HashSet::new(), HashSet::new());
        if !subject.namespaces.iter().all(|n| seen.0.insert(&n.name) & seen.1.insert(n.key.uuid())) {
            return Err(Error::Stale);
        }
        let (name, document) = (subject.subject.clone(), sealed::document(&self.seals, subject)?);
        let namespaces = namespaces(&self.seals, subject);
        self.writer().write(0, move |changes| put(&changes.connection, &name, &namespaces, &document)).await
    }

    async fn delete(&self, subject: &str) -> Result<(), Error> {
        let subject = subject.to_owned();
        let delete = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM namespaces WHERE subject = ?")?.execute([&subject])?;
            connection.prepare_cached("DELETE FROM subjects WHERE name = ?")?.execute([&subject])
        };
        self.writer()
            .write(0, move |changes| match delete(&changes.connection) {
                Ok(0) => Err(Error::Missing),
                deleted => deleted.map(drop).map_err(database),
            })
            .await
    }

    async fn list(&self) -> Result<Vec<Subject>, Error> {
        let list = self.readers().long(|connection| rows(connection).map_err(database)).await?;
        list.iter().map(|(name, text)| sealed::subject(&self.seals, name, text)).collect()
    }

    async fn limits(&self, namespace: &EntityName) -> Result<NamespaceLimits, Error> {
        self.readers().quick(|connection| {
            let mut select =
                connection.prepare_cached("SELECT document FROM limits WHERE namespace = ?").map_err(database)?;
            let text: Option<String> =
                select.query_row([namespace.as_str()], |row| row.get(0)).optional().map_err(database)?;
            limits(namespace, text)
        })
    }

    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error> {
        let namespace = namespace.to_string();
        let document = limits.map(serde_json::to_string).transpose().map_err(|e| corrupt(&namespace, e))?;
        let put = move |connection: &Connection| match &document {
            Some(document) => connection
                .prepare_cached("INSERT OR REPLACE INTO limits (namespace, document) VALUES (?, ?)")?
                .execute(params![namespace, document]),
            None => connection.prepare_cached("DELETE FROM limits WHERE namespace = ?")?.execute([&namespace]),
        };
        self.writer().write(0, move |changes| put(&changes.connection).map(drop).map_err(database)).await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error> {
        let after = after.map(|cursor| cursor.0.clone());
        let seals = self.seals.clone();
        self.readers().long(move |connection| scan::subjects(connection, &seals, after.as_deref(), portion)).await
    }

    async fn renew(&self, _after: Option<&Cursor>) -> Result<Renewed, Error> {
        let seals = self.seals.clone();
        let renewed = self.writer().write(0, move |changes| renew(&changes.connection, &seals)).await?;
        if renewed.written > 0 {
            let path = self.data_dir().join("store.db");
            self.readers().long(move |_| checkpoint::empty(&path).map_err(database)).await?;
        }
        Ok(renewed)
    }
}

/// Names of a subject's namespaces, with those that their uuids may be kept
/// as: the first is the one that they are kept as now.
type Namespaces = Vec<(String, Vec<String>)>;

fn namespaces(seals: &Seals, subject: &Subject) -> Namespaces {
    subject.namespaces.iter().map(|n| (n.name.to_string(), seals.names(n.key.uuid()))).collect()
}

/// Whoever owns the namespace that a condition names.
fn identity(
    connection: &Connection,
    seals: &Seals,
    condition: &'static str,
    value: &str,
    wanted: impl Fn(&Namespace) -> bool,
) -> Result<Identity, Error> {
    let sql = format!(
        "SELECT s.name, s.document, l.document FROM namespaces AS n JOIN subjects AS s ON s.name = n.subject
        LEFT JOIN limits AS l ON l.namespace = n.name WHERE {condition}"
    );
    let mut select = connection.prepare_cached(&sql).map_err(database)?;
    let texts = select.query_row([value], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (name, document, differing): (String, String, Option<String>) = texts.map_err(database)?;
    let subject = sealed::subject(seals, &name, &document)?;
    if subject.blocked {
        return Err(Error::Missing);
    }
    let namespace = subject.namespaces.into_iter().find(wanted).ok_or(Error::Missing)?;
    let limits = limits(&namespace.name, differing)?;
    Ok(Identity { subject: subject.subject.into(), namespace: namespace.name, key: namespace.key, limits })
}

fn put(connection: &Connection, name: &str, namespaces: &Namespaces, document: &str) -> Result<(), Error> {
    let taken = || {
        let mut select =
            connection.prepare_cached("SELECT 1 FROM namespaces WHERE (name = ?1 OR uuid = ?2) AND subject <> ?3")?;
        let all = namespaces.iter().flat_map(|(namespace, uuids)| uuids.iter().map(move |uuid| (namespace, uuid)));
        let mut all = all.map(|(namespace, uuid)| select.exists(params![namespace, uuid, name]));
        all.try_fold(false, |taken, exists| Ok(taken || exists?))
    };
    if taken().map_err(database)? {
        return Err(Error::Stale);
    }
    let write = || {
        connection.prepare_cached("DELETE FROM namespaces WHERE subject = ?")?.execute([name])?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO subjects (name, document) VALUES (?, ?)")?
            .execute([name, document])?;
        let mut insert = connection.prepare_cached("INSERT INTO namespaces (name, uuid, subject) VALUES (?, ?, ?)")?;
        namespaces
            .iter()
            .try_for_each(|(namespace, uuids)| insert.execute(params![namespace, uuids.first(), name]).map(drop))
    };
    write().map_err(database)
}

/// All of them in one transaction.
fn renew(connection: &Connection, seals: &Seals) -> Result<Renewed, Error> {
    let mut renewed = Renewed::default();
    for (name, text) in rows(connection).map_err(database)?.iter().filter(|(_, text)| seals.is_outdated_text(text)) {
        let write =
            |subject: Subject| put(connection, name, &namespaces(seals, &subject), &sealed::document(seals, &subject)?);
        match sealed::subject(seals, name, text).and_then(write) {
            Ok(()) => renewed.written += 1,
            Err(Error::Corrupt(..) | Error::Stale) => renewed.left.push(name.clone()),
            Err(failure) => return Err(failure),
        }
    }
    if renewed.written > 0 {
        connection.execute_batch(ANEW).map_err(database)?;
    }
    Ok(renewed)
}

/// Writes the tables anew: a row that was replaced has left its text in parts
/// of pages that are not used. Temporary tables are in memory.
const ANEW: &str = "
    CREATE TEMP TABLE kept AS SELECT name, document FROM subjects;
    DELETE FROM subjects;
    INSERT INTO subjects (name, document) SELECT name, document FROM kept ORDER BY name;
    DROP TABLE kept;
    CREATE TEMP TABLE kept AS SELECT name, uuid, subject FROM namespaces;
    DELETE FROM namespaces;
    INSERT INTO namespaces (name, uuid, subject) SELECT name, uuid, subject FROM kept ORDER BY name;
    DROP TABLE kept;";

fn rows(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare_cached("SELECT name, document FROM subjects ORDER BY name")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn limits(namespace: &EntityName, text: Option<String>) -> Result<NamespaceLimits, Error> {
    text.map_or_else(|| Ok(NamespaceLimits::default()), |text| parse(namespace, &text))
}

pub(crate) fn parse<T: DeserializeOwned>(what: impl ToString, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| corrupt(what, e))
}
