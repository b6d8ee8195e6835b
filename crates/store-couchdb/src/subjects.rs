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
use whisker_store::{Changes, Cursor, Error, Portion, Registered, Renewed, Scan, Subjects};

use crate::{
    CouchDb,
    database::{Query, Row, Rows},
    designs,
    entities::check_id,
    scan,
};

/// How often a write of a document is tried that others change meanwhile.
const TRIES: usize = 8;
/// What one step of a renewal looks at.
const RENEWED: Portion = Portion { limit: 50, max_bytes: 8 << 20 };

/// What the view has of a namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Owned {
    namespace: String,
    uuid: String,
    key: String,
}

#[async_trait]
impl Subjects for CouchDb {
    async fn by_uuid(&self, uuid: &str) -> Result<Identity, Error> {
        // Keys are [uuid, key]; only namespaces' names stand alone. Texts that
        // a collation takes for equal are told apart here.
        let query = Query::default().with("startkey", json!([uuid, ""])).with("endkey", json!([uuid, {}]));
        self.identity(uuid, query, |owned| owned.uuid == uuid).await
    }

    async fn by_namespace(&self, namespace: &EntityName) -> Result<Identity, Error> {
        let query = Query::default().with("key", json!([namespace]));
        self.identity(namespace.as_str(), query, |owned| owned.namespace == namespace.as_str()).await
    }

    async fn get(&self, subject: &str) -> Result<Subject, Error> {
        read_subject(&self.keys, subject, self.document(subject).await?.ok_or(Error::Missing)?)
    }

    /// Others may claim a namespace at the same moment, on another server,
    /// and CouchDB has no unique keys. So this looks again when it has written,
    /// and takes back what turns out to be claimed twice; at worst both do.
    async fn put(&self, subject: &Subject) -> Result<(), Error> {
        check_id(&subject.subject)?;
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
        let revision = self.change(&subject.subject, |held| {
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
        let revision = revision.await?;
        if !self.is_claimed(subject).await? {
            return Ok(());
        }
        match before {
            Some(mut before) => {
                before.insert("_rev".into(), json!(revision));
                self.subjects.put(&subject.subject, Value::Object(before).to_string()).await?;
            }
            None => self.subjects.delete(&subject.subject, &revision).await?,
        }
        Err(Error::Stale)
    }

    async fn delete(&self, subject: &str) -> Result<(), Error> {
        for _ in 0..TRIES {
            let document = self.document(subject).await?.ok_or(Error::Missing)?;
            match self.subjects.delete(subject, revision(subject, &document)?).await.map_err(Error::from) {
                Err(Error::Stale) => {}
                other => return other,
            }
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    async fn list(&self) -> Result<Vec<Subject>, Error> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let portion = Portion { limit: 1_000, max_bytes: 16 << 20 };
            let step = self.registered(after.as_ref(), portion).await?;
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
        Ok(self.document(&id).await?.map(|document| lenient(&id, Value::Object(document))).unwrap_or_default())
    }

    async fn put_limits(&self, namespace: &EntityName, limits: Option<&NamespaceLimits>) -> Result<(), Error> {
        let id = format!("{namespace}{LIMITS}");
        check_id(&id)?;
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
        self.registered(after, portion).await
    }

    async fn renew(&self, after: Option<&Cursor>) -> Result<Renewed, Error> {
        // Limits, and what is neither, have no keys.
        let read = |id: &str, document| match document {
            Value::Object(document) if document.contains_key("namespaces") => Some(Ok((id.to_owned(), document))),
            _ => None,
        };
        let step = scan::step(&self.subjects, after, RENEWED, read).await?;
        let mut renewed = Renewed { next: step.next, ..Renewed::default() };
        for item in step.items {
            renewed.count(match item {
                Ok((id, document)) => self.renew_one(&id, document).await,
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
enum Unknown {
    #[error("its _rev is missing")]
    Revision,
    #[error("several subjects own it")]
    Several,
}

impl CouchDb {
    async fn document(&self, id: &str) -> Result<Option<Map<String, Value>>, Error> {
        let Some(text) = self.subjects.get(id).await? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|e| corrupt(id, e))
    }

    /// Writes what `change` makes of what is there, again if others write
    /// meanwhile; the new revision.
    async fn change(
        &self,
        id: &str,
        mut change: impl FnMut(Option<Map<String, Value>>) -> Map<String, Value> + Send,
    ) -> Result<String, Error> {
        for _ in 0..TRIES {
            let held = self.document(id).await?;
            let there = held.as_ref().and_then(|held| held.get("_rev").cloned());
            let mut document = change(held);
            document.insert("_id".into(), json!(id));
            if let Some(revision) = there {
                document.insert("_rev".into(), revision);
            }
            match self.subjects.put(id, Value::Object(document).to_string()).await.map_err(Error::from) {
                Err(Error::Stale) => {}
                other => return other,
            }
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    /// With its key in clear.
    fn opened(&self, id: &str, owned: Owned) -> Result<Owned, Error> {
        let key = self.keys.opened(id, &owned.uuid, owned.key)?;
        Ok(Owned { key, ..owned })
    }

    /// Writes a subject whose keys are kept otherwise than they would be now;
    /// whether that was so.
    async fn renew_one(&self, id: &str, mut document: Map<String, Value>) -> Result<bool, Error> {
        let _claiming = self.claiming.lock().await;
        for _ in 0..TRIES {
            if !self.keys.renew(id, &mut document)? {
                return Ok(false);
            }
            match self.subjects.put(id, Value::Object(document).to_string()).await.map_err(Error::from) {
                // Others wrote it, or took it away.
                Err(Error::Stale) => {}
                other => return other.map(|_| true),
            }
            document = match self.document(id).await? {
                Some(there) => there,
                None => return Ok(false),
            };
        }
        Err(Error::Unavailable(Box::new(Contested)))
    }

    /// The identity in the one namespace that is wanted.
    async fn identity(&self, what: &str, query: Query, wanted: impl Fn(&Owned) -> bool) -> Result<Identity, Error> {
        let rows: Rows<Owned> = self.subjects.view(designs::IDENTITIES, query.with("include_docs", true)).await?;
        let mut rows = rows.rows.into_iter().filter(|row| row.value.as_ref().is_some_and(&wanted));
        let Row { id, value: Some(owned), doc, .. } = rows.next().ok_or(Error::Missing)? else {
            return Err(Error::Missing);
        };
        let owned = self.opened(&id, owned)?;
        for Row { id: other, value, .. } in rows {
            // Twice the same may be sealed twice.
            let value = value.map(|value| self.opened(&other, value)).transpose()?;
            if other != id || value.as_ref() != Some(&owned) {
                return Err(corrupt(what, Unknown::Several));
            }
        }
        let key = AuthKey::parse(&format!("{}:{}", owned.uuid, owned.key)).map_err(|e| corrupt(&id, e))?;
        let limits = match doc {
            Some(limits @ Value::Object(_)) if limits["_deleted"] != true => {
                lenient(&format!("{}{LIMITS}", owned.namespace), limits)
            }
            _ => NamespaceLimits::default(),
        };
        let namespace = EntityName::new(&owned.namespace).map_err(|e| corrupt(&id, e))?;
        Ok(Identity { subject: id.as_str().into(), namespace, key, limits })
    }

    /// Whether a namespace of a subject, or its uuid, is another's.
    async fn is_claimed(&self, subject: &Subject) -> Result<bool, Error> {
        for own in &subject.namespaces {
            let (name, uuid) = (own.name.as_str(), own.key.uuid());
            for (query, by_name) in [
                (Query::default().with("key", json!([name])), true),
                (Query::default().with("startkey", json!([uuid, ""])).with("endkey", json!([uuid, {}])), false),
            ] {
                let rows: Rows<Owned> = self.subjects.view(designs::IDENTITIES, query).await?;
                let same = |owned: &Owned| if by_name { owned.namespace == name } else { owned.uuid == uuid };
                let others = rows.rows.iter().filter(|row| row.id != subject.subject);
                if others.filter_map(|row| row.value.as_ref()).any(same) {
                    return Ok(true);
                }
            }
        }
        // The view does not show the blocked, who keep what they own.
        let query = Query::default().with("reduce", false).with("include_docs", true);
        let blocked: Rows<Value> = self.subjects.view(designs::BLOCKED, query).await?;
        let others = blocked.rows.into_iter().filter(|row| row.id != subject.subject && !row.id.ends_with(LIMITS));
        let owned = others.flat_map(|row| row.doc.map(|doc| doc["namespaces"].clone()));
        let owned: Vec<Value> = owned.filter_map(|owned| owned.as_array().cloned()).flatten().collect();
        Ok(subject
            .namespaces
            .iter()
            .any(|own| owned.iter().any(|o| o["name"] == own.name.as_str() || o["uuid"] == own.key.uuid())))
    }

    async fn registered(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Registered>, Error> {
        scan::step(&self.subjects, after, portion, |id, document| Some(registered(&self.keys, id, document))).await
    }
}

fn revision<'a>(id: &str, document: &'a Map<String, Value>) -> Result<&'a str, Error> {
    document.get("_rev").and_then(Value::as_str).ok_or_else(|| corrupt(id, Unknown::Revision))
}
