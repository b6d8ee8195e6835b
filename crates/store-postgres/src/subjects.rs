//! Subjects, whose each namespace is, and the limits of namespaces.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use whisker_entity::{EntityName, Identity, Namespace, NamespaceLimits, Subject};
use whisker_secrets::Seals;
use whisker_store::{Changes, Cursor, Error, Portion, Registered, Renewed, Scan, Subjects, sealed};

use crate::{
    Postgres,
    changes::{CHANNEL, SUBJECTS},
    error::{corrupt, database},
    lease::{Lease, Values},
    scan,
};

#[async_trait]
impl Subjects for Postgres {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        let names = self.seals.names(uuid);
        let names: Vec<_> = names.iter().map(String::as_bytes).collect();
        self.identity("n.uuid = ANY ($1)", &[&names], |n| n.key.uuid() == uuid).await
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        let name = namespace.as_str();
        self.identity("n.name = $1", &[&name], |n| n.name == *namespace).await
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        let text = self.text("SELECT document FROM subjects WHERE name = $1", &[&subject.as_bytes()]).await?;
        sealed::subject(&self.seals, subject, &text.ok_or(Error::Missing)?)
    }

    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        let mut seen = (HashSet::new(), HashSet::new());
        if !subject.namespaces.iter().all(|n| seen.0.insert(&n.name) & seen.1.insert(n.key.uuid())) {
            return Err(Error::Stale);
        }
        self.change(async |lease| put(lease, &self.seals, subject).await).await
    }

    async fn delete(&self, subject: &str) -> Result<(), Error> {
        self.change(async |lease| {
            // Its namespaces go with it.
            let deleted = lease.execute("DELETE FROM subjects WHERE name = $1", &[&subject.as_bytes()]).await?;
            if deleted == 0 { Err(Error::Missing) } else { Ok(()) }
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Subject>, Error> {
        let list = async {
            let lease = self.lease().await?;
            let rows = lease.query("SELECT name, document FROM subjects ORDER BY name", &[]).await?;
            lease.done();
            Ok(rows)
        };
        let rows = self.answered(list).await?;
        rows.iter()
            .map(|row| {
                let name = String::from_utf8_lossy(row.try_get(0).map_err(database)?);
                sealed::subject(&self.seals, &name, row.try_get(1).map_err(database)?)
            })
            .collect()
    }

    async fn limits(&self, namespace: &EntityName) -> Result<NamespaceLimits, Error> {
        let text = self.text("SELECT document FROM limits WHERE namespace = $1", &[&namespace.as_str()]).await?;
        limits(namespace, text.as_deref())
    }

    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error> {
        let document = limits.map(serde_json::to_string).transpose().map_err(|e| corrupt(namespace, e))?;
        let name = namespace.as_str();
        self.change(async |lease| {
            match &document {
                Some(document) => {
                    let sql = "INSERT INTO limits (namespace, document) VALUES ($1, $2)
                        ON CONFLICT (namespace) DO UPDATE SET document = excluded.document";
                    lease.execute(sql, &[&name, document]).await?
                }
                None => lease.execute("DELETE FROM limits WHERE namespace = $1", &[&name]).await?,
            };
            Ok(())
        })
        .await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error> {
        scan::subjects(self, after, portion).await
    }

    async fn renew(&self, after: Option<&Cursor>) -> Result<Renewed, Error> {
        self.change(async |lease| renew(lease, &self.seals, after).await).await
    }

    fn changes(&self) -> Changes {
        self.news.of_subjects()
    }
}

impl Postgres {
    /// Changes something, and tells the servers. Writers of subjects take
    /// turns: they are few, and each of their namespaces is one subject's only.
    async fn change<T>(&self, change: impl AsyncFnOnce(&Lease) -> Result<T, Error>) -> Result<T, Error> {
        self.answered(async {
            let lease = self.begin().await?;
            let changed = async {
                lease.batch("LOCK TABLE subjects IN SHARE ROW EXCLUSIVE MODE").await.map_err(database)?;
                let changed = change(&lease).await?;
                lease.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &SUBJECTS]).await?;
                Ok(changed)
            };
            let changed = changed.await;
            lease.end(changed).await
        })
        .await
    }

    async fn text(&self, sql: &str, values: Values<'_>) -> Result<Option<String>, Error> {
        let text = async {
            let lease = self.lease().await?;
            let row = lease.find(sql, values).await?;
            lease.done();
            row.map(|row| row.try_get(0).map_err(database)).transpose()
        };
        self.answered(text).await
    }

    /// Whoever owns the namespace that a condition names.
    async fn identity(
        &self,
        condition: &'static str,
        values: Values<'_>,
        wanted: impl Fn(&Namespace) -> bool,
    ) -> Result<Identity, Error> {
        let sql = format!(
            "SELECT s.name, s.document, l.document FROM namespaces AS n JOIN subjects AS s ON s.name = n.subject
            LEFT JOIN limits AS l ON l.namespace = n.name WHERE {condition}"
        );
        let find = async {
            let lease = self.lease().await?;
            let row = lease.find(&sql, values).await?;
            lease.done();
            row.ok_or(Error::Missing)
        };
        let row = self.answered(find).await?;
        let name = String::from_utf8_lossy(row.try_get(0).map_err(database)?);
        let subject = sealed::subject(&self.seals, &name, row.try_get(1).map_err(database)?)?;
        if subject.blocked {
            return Err(Error::Missing);
        }
        let namespace = subject.namespaces.into_iter().find(wanted).ok_or(Error::Missing)?;
        let limits = limits(&namespace.name, row.try_get(2).map_err(database)?)?;
        Ok(Identity { subject: subject.subject.into(), namespace: namespace.name, key: namespace.key, limits })
    }
}

async fn put(lease: &Lease, seals: &Seals, subject: &Subject) -> Result<(), Error> {
    let (name, document) = (subject.subject.as_bytes(), sealed::document(seals, subject)?);
    let namespaces: Vec<_> = subject.namespaces.iter().map(|n| n.name.as_str()).collect();
    // Of the names that a uuid may be kept as, the first is what it gets.
    let names: Vec<_> = subject.namespaces.iter().map(|n| seals.names(n.key.uuid())).collect();
    let all: Vec<_> = names.iter().flatten().map(String::as_bytes).collect();
    let uuids: Vec<_> = names.iter().filter_map(|names| names.first().map(String::as_bytes)).collect();
    let taken = "SELECT FROM namespaces WHERE (name = ANY ($1) OR uuid = ANY ($2)) AND subject <> $3 LIMIT 1";
    if lease.find(taken, &[&namespaces, &all, &name]).await?.is_some() {
        return Err(Error::Stale);
    }
    lease.execute("DELETE FROM namespaces WHERE subject = $1", &[&name]).await?;
    let write = "INSERT INTO subjects (name, document) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET document = excluded.document";
    lease.execute(write, &[&name, &document]).await?;
    let own = "INSERT INTO namespaces (name, uuid, subject)
        SELECT n.name, n.uuid, $3 FROM unnest($1::text[], $2::bytea[]) AS n (name, uuid)";
    lease.execute(own, &[&namespaces, &uuids, &name]).await.map(drop)
}

/// Looks at so many subjects in one transaction.
const RENEWED: usize = 100;

async fn renew(lease: &Lease, seals: &Seals, after: Option<&Cursor>) -> Result<Renewed, Error> {
    // Cursors are text and names may hold NUL.
    let after = after.map_or("", |cursor| &cursor.0);
    let sql = "SELECT name, document, encode(name, 'hex') FROM subjects
        WHERE name > decode($1, 'hex') OR $1 = '' ORDER BY name LIMIT $2";
    let rows = lease.query(sql, &[&after, &(RENEWED as i64)]).await?;
    let mut renewed = Renewed::default();
    for row in &rows {
        let name = String::from_utf8_lossy(row.try_get(0).map_err(database)?);
        let text: &str = row.try_get(1).map_err(database)?;
        if seals.is_outdated_text(text) {
            let written = match sealed::subject(seals, &name, text) {
                Ok(subject) => put(lease, seals, &subject).await,
                Err(unopened) => Err(unopened),
            };
            match written {
                Ok(()) => renewed.written += 1,
                Err(Error::Corrupt(..) | Error::Stale) => renewed.left.push(name.into_owned()),
                Err(failure) => return Err(failure),
            }
        }
    }
    if let Some(last) = rows.last().filter(|_| rows.len() == RENEWED) {
        renewed.next = Some(Cursor(last.try_get::<_, &str>(2).map_err(database)?.into()));
    }
    Ok(renewed)
}

fn limits(namespace: &EntityName, text: Option<&str>) -> Result<NamespaceLimits, Error> {
    text.map_or_else(|| Ok(NamespaceLimits::default()), |text| parse(namespace, text))
}

pub(crate) fn parse<T: DeserializeOwned>(what: impl ToString, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| corrupt(what, e))
}
