//! From one store to another.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use whisker_entity::{Activation, CodeHash, EntityName, Exec, ExecCode};
use whisker_store::{Cursor, Document, Error, Portion, Registered, Scan, Stored};

use crate::{
    Content, PORTION, Progress, Stage, Whole,
    check::read,
    meter::{Meter, namespaces},
};

/// Documents that are written at once.
const AT_ONCE: usize = 8;
/// Documents that cannot be read, of which the names are told.
const TOLD: usize = 1_000;

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What is in both stores now.
    pub content: Content,
    /// What the source has and cannot be understood, which is left out.
    pub left_out: Vec<String>,
}

/// Why a copy was not made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target holds something, and it was not said that it may.
    #[error("the target is not empty; --resume goes on with a copy that was broken off")]
    NotEmpty,
    /// The target holds something else under a name or an id.
    #[error("{0} is in the target already, and is another one")]
    Taken(String),
    /// The source has a document and not what belongs to it.
    #[error("the code of {0} is not in the source")]
    CodeMissing(String),
    /// The target does not hold what was copied.
    #[error("the target has {found} {what} where the source has {wanted}: was one of them written to meanwhile?")]
    Different {
        /// What kind of documents.
        what: &'static str,
        /// In the source.
        wanted: crate::Digest,
        /// In the target.
        found: crate::Digest,
    },
    /// Of the target, some code is not what its hash says.
    #[error("the target is damaged: {0}")]
    Damaged(String),
    /// The source failed.
    #[error("the source cannot be read")]
    Source(#[source] Error),
    /// The target failed.
    #[error("the target cannot be written")]
    Target(#[source] Error),
}

/// Copies everything. Into a target that holds something only if `resume` says
/// so: what is there already and the same is left as it is.
pub async fn copy(from: &Whole, to: &Whole, resume: bool, progress: Progress<'_>) -> Result<Copied, CopyError> {
    if !resume && !is_empty(to).await.map_err(CopyError::Target)? {
        return Err(CopyError::NotEmpty);
    }
    let mut copied = Copied { content: Content::default(), left_out: Vec::new() };
    let meter = Meter::new(progress);
    let owned = users(from, to, &mut copied, &meter).await?;
    entities(from, to, &mut copied, &meter).await?;
    let all = meter.records(&*from.activations, owned).await;
    records(from, to, resume, &mut copied, |done| meter.reached(Stage::Records, done, all)).await?;

    let all = copied.content.kinds().iter().map(|(_, digest)| digest.count).sum();
    let target = read(to, Meter::comparing(progress, all), &mut |_| {}).await.map_err(CopyError::Target)?;
    if let Some(problem) = target.problems.into_iter().next() {
        return Err(CopyError::Damaged(problem));
    }
    for ((what, wanted), (_, found)) in copied.content.kinds().into_iter().zip(target.content.kinds()) {
        if wanted != found {
            return Err(CopyError::Different { what, wanted, found });
        }
    }
    Ok(copied)
}

async fn is_empty(store: &Whole) -> Result<bool, Error> {
    let one = Portion { limit: 1, ..PORTION };
    Ok(store.entities.scan(None, one).await?.items.is_empty()
        && store.subjects.scan(None, one).await?.items.is_empty()
        && store.activations.scan(None, one).await?.items.is_empty())
}

impl Copied {
    /// What of a step can be copied.
    fn readable<T>(&mut self, scan: Scan<T>) -> (Vec<T>, Option<Cursor>) {
        let mut readable = Vec::with_capacity(scan.items.len());
        for item in scan.items {
            match item {
                Ok(item) => readable.push(item),
                Err(error) if self.left_out.len() < TOLD => self.left_out.push(error.to_string()),
                Err(_) => {}
            }
        }
        (readable, scan.next)
    }
}

/// Copies users and limits; the namespaces that somebody owns.
async fn users(from: &Whole, to: &Whole, copied: &mut Copied, meter: &Meter<'_>) -> Result<Vec<EntityName>, CopyError> {
    let (mut after, mut done, mut owned) = (None, 0, Vec::new());
    loop {
        let scan = from.subjects.scan(after.as_ref(), PORTION).await.map_err(CopyError::Source)?;
        let (users, next) = copied.readable(scan);
        for registered in users {
            copied.content.add_registered(&registered);
            let written = match &registered {
                Registered::Subject(subject) => to.subjects.put(subject).await.map_err(|error| match error {
                    Error::Stale => CopyError::Taken(format!("a namespace of {}", subject.subject)),
                    error => CopyError::Target(error),
                }),
                Registered::Limits(namespace, limits) => {
                    to.subjects.put_limits(namespace, Some(limits)).await.map_err(CopyError::Target)
                }
            };
            written?;
            owned.extend(namespaces(&registered));
            done += 1;
        }
        meter.reached(Stage::Users, done, None);
        after = next;
        if after.is_none() {
            return Ok(owned);
        }
    }
}

async fn entities(from: &Whole, to: &Whole, copied: &mut Copied, meter: &Meter<'_>) -> Result<(), CopyError> {
    let (mut after, done) = (None, AtomicU64::new(0));
    loop {
        let scan = from.entities.scan(after.as_ref(), PORTION).await.map_err(CopyError::Source)?;
        let (documents, next) = copied.readable(scan);
        documents.iter().for_each(|stored| copied.content.add_document(&stored.document));
        stream::iter(documents)
            .map(|stored| async {
                entity(from, to, stored).await?;
                meter.reached(Stage::Entities, done.fetch_add(1, Ordering::Relaxed) + 1, None);
                Ok::<_, CopyError>(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn entity(from: &Whole, to: &Whole, stored: Stored) -> Result<(), CopyError> {
    let mut document = stored.document;
    let name = document.qualified_name();
    match to.entities.get(&name).await {
        Ok(there) if there.document == document => return Ok(()),
        Ok(_) => return Err(CopyError::Taken(name.to_string())),
        Err(Error::Missing) => {}
        Err(error) => return Err(CopyError::Target(error)),
    }
    match to.entities.put(&document, None).await {
        // Its code is not there yet: it comes with this one.
        Err(Error::Missing) => {}
        Err(Error::Stale) => return Err(CopyError::Taken(name.to_string())),
        put => return put.map(drop).map_err(CopyError::Target),
    }
    if let Document::Action(action) = &mut document
        && let Some(code) = action.exec.code_mut()
    {
        let text = from.entities.code(code.hash()).await.map_err(|error| match error {
            Error::Missing => CopyError::CodeMissing(name.to_string()),
            error => CopyError::Source(error),
        })?;
        *code = ExecCode::Inline(text);
    }
    match to.entities.put(&document, None).await {
        Err(Error::Stale) => Err(CopyError::Taken(name.to_string())),
        put => put.map(drop).map_err(CopyError::Target),
    }
}

async fn records(
    from: &Whole,
    to: &Whole,
    resume: bool,
    copied: &mut Copied,
    progress: impl Fn(u64),
) -> Result<(), CopyError> {
    let read =
        async |after: Option<Cursor>| from.activations.scan(after.as_ref(), PORTION).await.map_err(CopyError::Source);
    let (mut scan, mut done) = (read(None).await?, 0);
    loop {
        let (records, next) = copied.readable(scan);
        done += records.len() as u64;
        records.iter().for_each(|record| copied.content.add_record(record));
        // The next ones are read while these are written.
        let written = write(to, resume, records);
        let ahead = async {
            match next {
                Some(next) => read(Some(next)).await.map(Some),
                None => Ok(None),
            }
        };
        let ((), ahead) = tokio::try_join!(written, ahead)?;
        progress(done);
        match ahead {
            Some(ahead) => scan = ahead,
            None => return Ok(()),
        }
    }
}

async fn write(to: &Whole, resume: bool, records: Vec<Activation>) -> Result<(), CopyError> {
    let mut records: Vec<_> = records.into_iter().map(std::sync::Arc::new).collect();
    if resume {
        let mut by_namespace: HashMap<_, Vec<_>> = HashMap::new();
        for record in &records {
            by_namespace.entry(record.namespace.clone()).or_default().push(record.id);
        }
        let mut known = HashSet::new();
        for (namespace, ids) in by_namespace {
            known.extend(to.activations.known(&namespace, &ids).await.map_err(CopyError::Target)?);
        }
        records.retain(|record| !known.contains(&record.id));
    }
    to.activations.put(&records).await.map_err(CopyError::Target)
}

/// The hash of a document's code, if it has any.
pub(crate) fn code_of(document: &Document) -> Option<(CodeHash, u64)> {
    let code = document.exec().and_then(Exec::code)?;
    Some((code.hash(), code.length()))
}
