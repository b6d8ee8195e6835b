//! What every member does whose database can be away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::samples::{WHOLE, all_of, id, parse, path, records, subject, trigger};
use crate::{Activations, Collection, Entities, Error, Subjects};

/// A database that can be taken away from its store. Both wait until it is so.
pub trait Outage: Send + Sync {
    /// Takes it away.
    fn begin(&self);
    /// Gives it back.
    fn end(&self);
}

/// Longest that a read may take while the database is away: a second, and what
/// a busy machine adds.
const READ: Duration = Duration::from_millis(2_500);
/// Longest that it may take until a database that is back is used again.
const BACK: Duration = Duration::from_secs(30);

fn is_unavailable<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable(_)))
}

/// Within a second, each kind of read; and of writes none is answered as done.
/// When it is back all is as it was, without opening the store again.
pub async fn a_store_that_is_away_says_so<S: Entities + Activations + Subjects>(store: Arc<S>, outage: &dyn Outage) {
    Entities::put(&*store, &trigger("ns/t", 1), None).await.unwrap();
    Activations::put(&*store, &records(0..10)).await.unwrap();
    Subjects::put(&*store, &subject("anna", &[("ns", "u-1")])).await.unwrap();

    outage.begin();
    let mut longest = Duration::ZERO;
    for round in 0..4 {
        let began = Instant::now();
        let (batch, document) = (records(10..20), trigger("ns/new", 1));
        let (ns, name, list) = (parse("ns"), parse("ns/t"), path("ns"));
        let all = all_of("ns");
        let reads = tokio::join!(
            async { is_unavailable(&Entities::get(&*store, &name).await) },
            async { is_unavailable(&Entities::list(&*store, Collection::Triggers, &list, WHOLE).await) },
            async { is_unavailable(&Activations::get(&*store, &ns, id(1)).await) },
            async { is_unavailable(&Activations::list(&*store, &all, WHOLE).await) },
            async { is_unavailable(&Activations::count(&*store, &all).await) },
            async { is_unavailable(&store.by_uuid("u-1").await) },
            async { is_unavailable(&Activations::put(&*store, &batch).await) },
            async { is_unavailable(&Entities::put(&*store, &document, None).await) },
        );
        assert_eq!(reads, (true, true, true, true, true, true, true, true), "round {round}");
        longest = longest.max(began.elapsed());
    }
    outage.end();
    eprintln!("away: the longest read took {longest:?}");
    assert!(longest < READ, "a read took {longest:?}");

    let back = Instant::now();
    while is_unavailable(&Activations::put(&*store, &records(10..20)).await) {
        assert!(back.elapsed() < BACK, "it is back and not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("back: used after {:?}", back.elapsed());
    assert_eq!(Activations::count(&*store, &all_of("ns")).await.unwrap(), 20);
    assert!(Entities::get(&*store, &parse("ns/t")).await.is_ok());
    assert!(store.by_uuid("u-1").await.is_ok());
}

/// What was answered is there; what was not is written again, and then there
/// once.
pub async fn what_was_answered_survives<S: Entities + Activations + Subjects>(store: Arc<S>, outage: &dyn Outage) {
    /// More than one writer comes to.
    const EACH: u64 = 100_000;
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer: u64| {
            let (store, over) = (store.clone(), over.clone());
            tokio::spawn(async move {
                let (mut batches, mut documents, mut failures) = (Vec::new(), Vec::new(), 0);
                for round in 0..EACH {
                    let first = (writer * EACH + round) * 10;
                    let name = format!("ns/t{writer}-{round}");
                    let (batch, document) = (records(first..first + 10), trigger(&name, round));
                    let (batch, document) =
                        tokio::join!(Activations::put(&*store, &batch), Entities::put(&*store, &document, None));
                    failures += u32::from(batch.is_err()) + u32::from(document.is_err());
                    assert!(batch.is_ok() || is_unavailable(&batch), "{batch:?}");
                    assert!(document.is_ok() || is_unavailable(&document), "{document:?}");
                    batches.push((first, batch.is_ok()));
                    documents.push((name, document.ok()));
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    if failures > 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                (batches, documents, failures)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    outage.begin();
    tokio::time::sleep(Duration::from_millis(500)).await;
    outage.end();
    over.store(true, Ordering::Relaxed);

    let (mut wanted, mut failed) = (0, 0);
    for writer in writers {
        let (batches, documents, failures) = writer.await.unwrap();
        failed += failures;
        for (first, answered) in batches {
            let ids: Vec<_> = (first..first + 10).map(id).collect();
            let began = Instant::now();
            let known = loop {
                match store.known(&parse("ns"), &ids).await {
                    Ok(known) => break known.len(),
                    Err(error) => assert!(began.elapsed() < BACK, "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            assert!(known == 10 || known == 0 && !answered, "{known} of a batch that was answered: {answered}");
            Activations::put(&*store, &records(first..first + 10)).await.unwrap();
            wanted += 10;
        }
        for (name, revision) in documents {
            let there = Entities::get(&*store, &parse(&name)).await;
            match revision {
                Some(revision) => assert_eq!(there.unwrap().revision, revision, "{name}"),
                None => assert!(matches!(there, Ok(_) | Err(Error::Missing)), "{name}: {there:?}"),
            }
        }
    }
    eprintln!("{wanted} records in batches, {failed} writes were not answered");
    assert!(failed > 0, "the outage hit nobody");
    assert_eq!(Activations::count(&*store, &all_of("ns")).await.unwrap(), wanted);
}
