//! Subjects, and limits of namespaces.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use whisker_documents::{
    corrupt,
    subject::{LIMITS, every_limit, lenient, read_subject, registered},
};
use whisker_entity::{AuthKey, EntityName, Identity, Namespace, NamespaceLimits, Subject};
use whisker_store::{Changes, Cursor, Error, Page, Portion, Registered, Renewed, Scan, Subjects};

use crate::{
    Cosmos,
    container::{escaped, seen},
    cosmos::tombstone,
    query::{NOT_DELETED, Order, Query},
};

/// How often a write of a document is tried that others change meanwhile.
const TRIES: usize = 8;
/// What one step of a renewal looks at.
const RENEWED: Portion = Portion { limit: 50, max_bytes: 8 << 20 };

/// What a document says of a namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Owned {
    name: String,
    uuid: String,
    key: String,
}

/// A document, with its ETag.
type Held = (Map<String, Value>, String);

#[async_trait]
impl Subjects for Cosmos {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        self.identity("uuid", uuid, |owned| owned.uuid == uuid).await
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        self.identity("name", namespace.as_str(), |owned| owned.name == namespace.as_str()).await
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        read_subject(&self.keys, subject, self.document(subject).await?.ok_or(Error::Missing)?.0)
    }

    /// Others may claim a namespace at the same moment, on another server. So
    /// this looks again when it has written, and takes back what turns out to
    /// be claimed twice; at worst both do.
    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        escaped(&subject.subject)?;
        let mut seen = HashSet::new();
        let once = |own: &Namespace| {
            seen.insert(("name", own.name.to_string())) & seen.insert(("uuid", own.key.uuid().to_owned()))
        };
        if !subject.namespaces.iter().all(once) {
            return Err(Error::Stale);
        }
        let _claiming = self.claiming.lock().await;
        if self.is_claimed(subject).await? {
            return Err(Error::Stale);
        }
        let mut before = None;
        let etag = self.change(&subject.subject, |held| {
            before.clone_from(&held);
            let mut document = held.unwrap_or_default();
            document.insert("subject".into(), json!(subject.subject));
            document.insert("namespaces".into(), self.keys.kept(&subject.namespaces));
            document.remove("blocked");
            if subject.blocked {
                document.insert("blocked".into(), json!(true));
            }
            document
        });
        let etag = etag.await?;
        if !self.is_claimed(subject).await? {
            return Ok(());
        }
        let key = escaped(&subject.subject)?;
        let text = match before {
            Some(before) => kept(&key, before),
            None => tombstone(&key),
        };
        self.subjects.replace(&key, &etag, text).await?;
        Err(Error::Stale)
    }

    async fn delete(&self, subject: &str) -> Result<(), Error> {
        let key = escaped(subject)?;
        for _ in 0..TRIES {
            let (_, etag) = self.document(subject).await?.ok_or(Error::Missing)?;
            match self.subjects.replace(&key, &etag, tombstone(&key)).await.map_err(Error::from) {
                Err(Error::Stale) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    async fn list(&self) -> Result<Vec<Subject>, Error> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let portion = Portion { limit: 1_000, max_bytes: 16 << 20 };
            let step = self.scan(after.as_ref(), portion).await?;
            for item in step.items {
                match item {
                    Ok(Registered::Subject(subject)) => all.push(subject),
                    Ok(Registered::Limits(..)) => {}
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "left out of a list");
                    }
                }
            }
            after = step.next;
            if after.is_none() {
                break;
            }
        }
        all.sort_by(|a, b| a.subject.cmp(&b.subject));
        Ok(all)
    }

    async fn limits(&self, namespace: &EntityName) -> Result<NamespaceLimits, Error> {
        let id = format!("{namespace}{LIMITS}");
        Ok(self.document(&id).await?.map(|(document, _)| lenient(&id, Value::Object(document))).unwrap_or_default())
    }

    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error> {
        let id = format!("{namespace}{LIMITS}");
        match limits {
            Some(limits) => {
                let members = json!(limits);
                self.change(&id, |held| {
                    // What limits do not know stays.
                    let known = json!(every_limit());
                    let mut document = held.unwrap_or_default();
                    document.retain(|name, _| known.get(name).is_none());
                    document.extend(members.as_object().cloned().unwrap_or_default());
                    document
                })
                .await
                .map(|_| ())
            }
            None => match self.delete(&id).await {
                Err(Error::Missing) => Ok(()),
                other => other,
            },
        }
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error> {
        let (rows, next) = self.subjects.step(after, portion).await?;
        let items = rows.into_iter().map(|row| {
            let document = serde_json::from_str(row.text.get()).map_err(|e| corrupt(&row.id, e))?;
            registered(&self.keys, &row.id, Value::Object(seen(document, false)))
        });
        Ok(Scan { items: items.collect(), next })
    }

    async fn renew(&self, after: Option<&Cursor>) -> Result<Renewed, Error> {
        let (rows, next) = self.subjects.step(after, RENEWED).await?;
        let mut renewed = Renewed { next, ..Renewed::default() };
        for row in rows {
            renewed.count(match held(&row.id, row.text.get()) {
                // Limits, and what is neither, have no keys.
                Ok((document, _)) if !document.contains_key("namespaces") => Ok(false),
                Ok(held) => self.renew_one(&row.id, held).await,
                Err(error) => Err(error),
            })?;
        }
        Ok(renewed)
    }

    fn changes(&self) -> Changes {
        self.subjects_feed.changes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("others go on changing the document")]
struct Contested;

#[derive(Debug, thiserror::Error)]
#[error("several subjects own it")]
struct Several;

#[derive(Debug, thiserror::Error)]
#[error("its _etag is missing")]
struct NoEtag;

impl Cosmos {
    async fn document(&self, id: &str) -> Result<Option<Held>, Error> {
        let Some(found) = self.subjects.get(&escaped(id)?).await?.filter(|found| !found.deleted) else {
            return Ok(None);
        };
        let document = serde_json::from_slice(&found.text).map_err(|e| corrupt(id, e))?;
        Ok(Some((seen(document, false), found.etag)))
    }

    /// Writes what `change` makes of what is there, again if others write
    /// meanwhile; the new ETag.
    async fn change(
        &self,
        id: &str,
        mut change: impl FnMut(Option<Map<String, Value>>) -> Map<String, Value> + Send,
    ) -> Result<String, Error> {
        let key = escaped(id)?;
        for _ in 0..TRIES {
            let written = match self.document(id).await? {
                Some((held, etag)) => self.subjects.replace(&key, &etag, kept(&key, change(Some(held)))).await,
                None => self.subjects.put_new(&key, kept(&key, change(None))).await,
            };
            match written.map_err(Error::from) {
                // Another was quicker, or took it away.
                Err(Error::Stale | Error::Missing) => {}
                other => return other,
            }
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    /// Documents of subjects that own a namespace of this `name` or `uuid`,
    /// blocked or not, with their ids.
    async fn owners(&self, member: &str, value: &str) -> Result<Vec<(String, Map<String, Value>)>, Error> {
        let text =
            format!("SELECT VALUE r FROM root r JOIN n IN r.namespaces WHERE {NOT_DELETED} AND n.{member} = @value");
        let query = Query::new(text).with("value", value);
        let all = Page { skip: 0, limit: u64::MAX };
        let (mut rows, _) = self.subjects.select(&query, Order::Little, all, u64::MAX).await?;
        // One that has it twice is found twice.
        rows.dedup_by(|a, b| a.id == b.id);
        let read = |text: &str| serde_json::from_str(text).map(|document| seen(document, false));
        rows.into_iter()
            .map(|row| read(row.text.get()).map_err(|e| corrupt(&row.id, e)).map(|document| (row.id, document)))
            .collect()
    }

    /// Writes a subject whose keys are kept otherwise than they would be now;
    /// whether that was so.
    async fn renew_one(&self, id: &str, (mut document, mut etag): Held) -> Result<bool, Error> {
        let key = escaped(id)?;
        let _claiming = self.claiming.lock().await;
        for _ in 0..TRIES {
            if !self.keys.renew(id, &mut document)? {
                return Ok(false);
            }
            match self.subjects.replace(&key, &etag, kept(&key, document)).await.map_err(Error::from) {
                // Others wrote it, or took it away.
                Err(Error::Stale | Error::Missing) => {}
                other => return other.map(|_| true),
            }
            (document, etag) = match self.document(id).await? {
                Some(there) => there,
                None => return Ok(false),
            };
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    /// The identity in the one namespace that is wanted.
    async fn identity(&self, member: &str, value: &str, wanted: impl Fn(&Owned) -> bool) -> Result<Identity, Error> {
        let mut found: Vec<(String, Owned)> = Vec::new();
        for (id, document) in self.owners(member, value).await? {
            if document.get("blocked").is_some_and(|blocked| blocked != false) {
                continue;
            }
            let owned = document.get("namespaces").and_then(Value::as_array).into_iter().flatten();
            let owned = owned.filter_map(|owned| Owned::deserialize(owned).ok()).filter(&wanted);
            for owned in owned {
                let key = self.keys.opened(&id, &owned.uuid, owned.key)?;
                found.push((id.clone(), Owned { key, ..owned }));
            }
        }
        found.dedup();
        let Some((id, owned)) = found.pop() else { return Err(Error::Missing) };
        if !found.is_empty() {
            return Err(corrupt(value, Several));
        }
        let key = AuthKey::parse(&format!("{}:{}", owned.uuid, owned.key)).map_err(|e| corrupt(&id, e))?;
        let namespace = EntityName::new(&owned.name).map_err(|e| corrupt(&id, e))?;
        let limits = self.limits(&namespace).await?;
        Ok(Identity { subject: id.as_str().into(), namespace, key, limits })
    }

    /// Whether a namespace of a subject, or its uuid, is another's.
    async fn is_claimed(&self, subject: &Subject) -> Result<bool, Error> {
        for own in &subject.namespaces {
            for (member, value) in [("name", own.name.as_str()), ("uuid", own.key.uuid())] {
                if self.owners(member, value).await?.iter().any(|(id, _)| *id != subject.subject) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A document that a query found, with its ETag.
fn held(id: &str, text: &str) -> Result<Held, Error> {
    let document: Map<String, Value> = serde_json::from_str(text).map_err(|e| corrupt(id, e))?;
    let etag = document.get("_etag").and_then(Value::as_str).ok_or_else(|| corrupt(id, NoEtag))?.to_owned();
    Ok((seen(document, false), etag))
}

/// A document, as Cosmos DB keeps it.
fn kept(key: &str, mut document: Map<String, Value>) -> String {
    document.remove("_id");
    document.insert("id".into(), json!(key));
    Value::Object(document).to_string()
}
