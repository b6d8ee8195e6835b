//! Subjects, whose each namespace is, and the limits of namespaces.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use whisker_entity::{EntityName, Identity, Namespace, NamespaceLimits, Subject};
use whisker_store::{Cursor, Error, Portion, Registered, Scan, Subjects};

use crate::{
    Embedded,
    error::{corrupt, database},
    scan,
};

#[async_trait]
impl Subjects for Embedded {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        self.readers().quick(|connection| identity(connection, "n.uuid = ?", uuid, |n| n.key.uuid() == uuid))
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        let name = namespace.as_str();
        self.readers().quick(|connection| identity(connection, "n.name = ?", name, |n| n.name == *namespace))
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        self.readers().quick(|connection| {
            let mut select =
                connection.prepare_cached("SELECT document FROM subjects WHERE name = ?").map_err(database)?;
            let text: String = select.query_row([subject], |row| row.get(0)).map_err(database)?;
            parse(subject, &text)
        })
    }

    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        let document = serde_json::to_string(subject).map_err(|e| corrupt(&subject.subject, e))?;
        let name = subject.subject.clone();
        let namespaces = subject.namespaces.iter().map(|n| (n.name.to_string(), n.key.uuid().to_owned()));
        let namespaces: Vec<_> = namespaces.collect();
        let mut seen = (HashSet::new(), HashSet::new());
        if !namespaces.iter().all(|(name, uuid)| seen.0.insert(name) & seen.1.insert(uuid)) {
            return Err(Error::Stale);
        }
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
        let list = |connection: &Connection| {
            let mut select = connection.prepare_cached("SELECT name, document FROM subjects ORDER BY name")?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<(String, String)>, _>>()
        };
        let list = self.readers().long(move |connection| list(connection).map_err(database)).await?;
        list.iter().map(|(name, text)| parse(name, text)).collect()
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
        self.readers().long(move |connection| scan::subjects(connection, after.as_deref(), portion)).await
    }
}

/// Whoever owns the namespace that a condition names.
fn identity(
    connection: &Connection,
    condition: &'static str,
    value: &str,
    wanted: impl Fn(&Namespace) -> bool,
) -> Result<Identity, Error> {
    let sql = format!(
        "SELECT s.document, l.document FROM namespaces AS n JOIN subjects AS s ON s.name = n.subject
        LEFT JOIN limits AS l ON l.namespace = n.name WHERE {condition}"
    );
    let mut select = connection.prepare_cached(&sql).map_err(database)?;
    let texts = select.query_row([value], |row| Ok((row.get(0)?, row.get(1)?)));
    let (document, differing): (String, Option<String>) = texts.map_err(database)?;
    let subject: Subject = parse(value, &document)?;
    if subject.blocked {
        return Err(Error::Missing);
    }
    let namespace = subject.namespaces.into_iter().find(wanted).ok_or(Error::Missing)?;
    let limits = limits(&namespace.name, differing)?;
    Ok(Identity { subject: subject.subject.into(), namespace: namespace.name, key: namespace.key, limits })
}

fn put(connection: &Connection, name: &str, namespaces: &[(String, String)], document: &str) -> Result<(), Error> {
    let taken = || {
        let mut select =
            connection.prepare_cached("SELECT 1 FROM namespaces WHERE (name = ?1 OR uuid = ?2) AND subject <> ?3")?;
        namespaces
            .iter()
            .try_fold(false, |taken, (namespace, uuid)| Ok(taken || select.exists(params![namespace, uuid, name])?))
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
        namespaces.iter().try_for_each(|(namespace, uuid)| insert.execute([namespace, uuid, name]).map(drop))
    };
    write().map_err(database)
}

fn limits(namespace: &EntityName, text: Option<String>) -> Result<NamespaceLimits, Error> {
    text.map_or_else(|| Ok(NamespaceLimits::default()), |text| parse(namespace, &text))
}

pub(crate) fn parse<T: DeserializeOwned>(what: impl ToString, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| corrupt(what, e))
}
