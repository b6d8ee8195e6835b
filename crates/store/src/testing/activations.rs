//! What every [`Activations`] does.

use std::sync::Arc;

use serde_json::value::RawValue;
use whisker_entity::{Activation, ActivationId, Millis, Response, Status};

use super::{
    many,
    samples::{WHOLE, all_of, id, parse, record, records, scanned},
};
use crate::{ActivationQuery, Activations, Error, Page, Portion, Retention, Summary};

type Store = Arc<dyn Activations>;

async fn put(store: &Store, record: &Activation) {
    store.put(&[Arc::new(record.clone())]).await.unwrap();
}

/// Records have no equality, since numbers in results are texts.
fn text(record: &Activation) -> String {
    serde_json::to_string(record).unwrap()
}

async fn ids(store: &Store, query: &ActivationQuery, page: Page) -> Vec<ActivationId> {
    store.list(query, page).await.unwrap().iter().map(|summary| summary.id).collect()
}

async fn left(store: &Store) -> Vec<ActivationId> {
    ids(store, &all_of("ns"), WHOLE).await
}

async fn prune(store: &Store, not_before: Millis, max_count: u64) -> u64 {
    let mut gone = 0;
    loop {
        match store.prune(Retention { not_before, max_count }).await.unwrap() {
            0 => return gone,
            n => gone += n,
        }
    }
}

/// Every member, and results exactly as the function wrote them.
pub async fn a_record_reads_back_byte_for_byte(store: Store) {
    let plain = record("ns", "ns/pkg/a", id(1), 1);
    let mut trigger = record("ns", "ns/t", id(2), 2);
    (trigger.end, trigger.duration, trigger.response.result, trigger.response.size) = (0, None, None, None);
    trigger.logs = vec![];
    let mut odd = record("ns", "ns/a", id(3), 3);
    odd.cause = Some(id(1));
    odd.version = parse("1.2.3");
    odd.response.result = RawValue::from_string(r#"{"b": 1e400, "a": 1.10,  "b": 0.1}"#.into()).ok();
    let mut failed = record("ns", "ns/a", id(4), 4);
    failed.response = Response::error(Status::WhiskError, "gone");
    for record in [plain, trigger, odd, failed] {
        put(&store, &record).await;
        let read = store.get(&parse("ns"), record.id).await.unwrap();
        assert_eq!(text(&read), text(&record));
    }
}

/// Others do not find it.
pub async fn a_record_belongs_to_its_namespace(store: Store) {
    put(&store, &record("ns", "other/a", id(1), 1)).await;
    assert!(store.get(&parse("ns"), id(1)).await.is_ok());
    for (namespace, id) in [("other", id(1)), ("nobody", id(1)), ("ns", id(2))] {
        assert!(matches!(store.get(&parse(namespace), id).await, Err(Error::Missing)));
    }
    assert_eq!(store.count(&all_of("other")).await.unwrap(), 0);
    assert!(ids(&store, &all_of("other"), WHOLE).await.is_empty());
}

/// Not even where the content differs, nor within one call.
pub async fn writing_again_changes_nothing(store: Store) {
    let first = record("ns", "ns/a", id(1), 1);
    let mut again = record("ns", "ns/b", id(1), 9);
    again.logs = vec!["other".into()];
    put(&store, &first).await;
    let (first, again) = (Arc::new(first), Arc::new(again));
    let new = Arc::new(record("ns", "ns/a", id(2), 2));
    store.put(&[again.clone(), new.clone(), new, first.clone()]).await.unwrap();
    assert_eq!(left(&store).await, [id(2), id(1)]);
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 2);
    assert_eq!(text(&store.get(&parse("ns"), id(1)).await.unwrap()), text(&first));
    let by_name = ActivationQuery { name: Some(again.filter_name()), ..all_of("ns") };
    assert_eq!(store.count(&by_name).await.unwrap(), 0);
    store.put(&[]).await.unwrap();
}

/// In the order asked.
pub async fn known_are_those_that_are_stored(store: Store) {
    store.put(&records([1, 2])).await.unwrap();
    put(&store, &record("other", "other/a", id(3), 3)).await;
    let ns = parse("ns");
    let asked = [id(2), id(9), id(1), id(8)];
    assert_eq!(store.known(&ns, &asked).await.unwrap(), [id(2), id(1)]);
    assert_eq!(store.known(&parse("other"), &[id(9), id(3)]).await.unwrap(), [id(3)]);
    assert!(store.known(&ns, &[]).await.unwrap().is_empty());
    let many: Vec<_> = (0..5_000).map(id).collect();
    let ours = store.known(&ns, &many).await.unwrap();
    assert_eq!(ours.iter().filter(|known| **known != id(3)).copied().collect::<Vec<_>>(), [id(1), id(2)]);
}

/// By start, then by id, both descending; ids need not follow time.
pub async fn lists_are_newest_first(store: Store) {
    for (n, start) in [(5, 10), (9, 5), (1, 20), (7, 10), (2, 10)] {
        put(&store, &record("ns", "ns/a", id(n), start)).await;
    }
    assert_eq!(left(&store).await, [1, 7, 5, 2, 9].map(id));
    let by_name = ActivationQuery { name: Some(parse("ns/a")), ..all_of("ns") };
    assert_eq!(ids(&store, &by_name, WHOLE).await, [1, 7, 5, 2, 9].map(id));
}

/// Without gaps or repetitions, whatever the page's length.
pub async fn pages_cover_a_list_once(store: Store) {
    let list: Vec<_> = (0..25).map(|n| Arc::new(record("ns", "ns/a", id(n), n / 4))).collect();
    store.put(&list).await.unwrap();
    let whole = left(&store).await;
    assert_eq!(whole.len(), 25);
    for limit in [1, 4, 7, 25, 200] {
        let mut paged = Vec::new();
        for skip in (0..25).step_by(limit) {
            paged.extend(ids(&store, &all_of("ns"), Page { skip, limit: limit as u64 }).await);
        }
        assert_eq!(paged, whole, "pages of {limit}");
    }
    for (skip, limit) in [(0, 0), (25, 1), (u64::MAX, u64::MAX)] {
        assert!(ids(&store, &all_of("ns"), Page { skip, limit }).await.is_empty());
        assert!(store.list_full(&all_of("ns"), Page { skip, limit }, u64::MAX).await.unwrap().is_empty());
    }
}

/// In lists and counts, with a name and without.
pub async fn since_and_upto_are_inclusive(store: Store) {
    store.put(&records(1..=9)).await.unwrap();
    for name in [None, Some(parse("ns/a"))] {
        for (since, upto, expected) in [
            (None, None, 1..10),
            (Some(3), None, 3..10),
            (None, Some(3), 1..4),
            (Some(3), Some(5), 3..6),
            (Some(4), Some(4), 4..5),
            (Some(0), Some(u64::MAX), 1..10),
            (Some(10), None, 0..0),
            (Some(5), Some(3), 0..0),
        ] {
            let query = ActivationQuery { name: name.clone(), since, upto, ..all_of("ns") };
            let expected: Vec<_> = expected.rev().map(id).collect();
            assert_eq!(ids(&store, &query, WHOLE).await, expected, "{query:?}");
            assert_eq!(store.count(&query).await.unwrap(), expected.len() as u64, "{query:?}");
        }
    }
}

/// As [`Activation::filter_name`] says.
pub async fn names_filter_through_packages_and_bindings(store: Store) {
    put(&store, &record("ns", "ns/a", id(1), 1)).await;
    put(&store, &record("ns", "ns/pkg/a", id(2), 2)).await;
    let mut bound = record("ns", "other/pkg/a", id(3), 3);
    bound.annotations.set_value("binding", "ns/mine");
    put(&store, &bound).await;
    put(&store, &record("ns", "other/pkg/a", id(4), 4)).await;
    put(&store, &record("other", "other/pkg/a", id(5), 5)).await;
    for (name, expected) in [
        ("ns/a", vec![1]),
        ("ns/pkg/a", vec![4, 2]),
        ("ns/mine/a", vec![3]),
        ("other/pkg/a", vec![]),
        ("ns/b", vec![]),
        ("ns/pkg", vec![]),
    ] {
        let query = ActivationQuery { name: Some(parse(name)), ..all_of("ns") };
        let expected: Vec<_> = expected.into_iter().map(id).collect();
        assert_eq!(ids(&store, &query, WHOLE).await, expected, "{name}");
        assert_eq!(store.count(&query).await.unwrap(), expected.len() as u64, "{name}");
    }
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 4);
}

/// And whole lists hold whole records.
pub async fn summaries_are_those_of_whole_records(store: Store) {
    let mut trigger = record("ns", "ns/t", id(3), 3);
    (trigger.end, trigger.duration, trigger.cause) = (0, None, Some(id(2)));
    let mut failed = record("ns", "ns/a", id(2), 2);
    failed.response = Response::error(Status::DeveloperError, "no");
    let written = [trigger, failed, record("ns", "ns/pkg/a", id(1), 1)];
    for record in &written {
        put(&store, record).await;
    }
    let summaries = store.list(&all_of("ns"), WHOLE).await.unwrap();
    assert_eq!(summaries, written.iter().map(Summary::from).collect::<Vec<_>>());
    let full = store.list_full(&all_of("ns"), WHOLE, u64::MAX).await.unwrap();
    assert!(full.iter().map(text).eq(written.iter().map(text)));
}

/// A list of whole records is all of them or a refusal, never a part.
pub async fn a_list_of_whole_records_has_a_bound(store: Store) {
    for n in 1..=3 {
        let mut long = record("ns", "ns/a", id(n), n);
        long.logs = vec!["x".repeat(1000)];
        put(&store, &long).await;
    }
    let all = all_of("ns");
    let list = |page, max_bytes| store.list_full(&all, page, max_bytes);
    assert!(matches!(list(WHOLE, 2_500).await, Err(Error::TooLarge(2_500))));
    assert_eq!(list(Page { skip: 0, limit: 2 }, 2_500).await.unwrap().len(), 2);
    assert_eq!(list(WHOLE, 10_000).await.unwrap().len(), 3);
}

/// Clocks can be wrong; records are not lost for that.
pub async fn times_at_the_edges_are_kept(store: Store) {
    for (n, start) in [(1, 0), (2, u64::MAX), (3, 5)] {
        put(&store, &record("ns", "ns/a", id(n), start)).await;
    }
    assert_eq!(left(&store).await, [2, 3, 1].map(id));
    assert_eq!(store.get(&parse("ns"), id(2)).await.unwrap().start, u64::MAX);
    let extremes = [ActivationId::from_bytes([0; 16]), ActivationId::from_bytes([0xff; 16])];
    for id in extremes {
        put(&store, &record("edge", "edge/a", id, 5)).await;
    }
    assert_eq!(ids(&store, &all_of("edge"), WHOLE).await, [extremes[1], extremes[0]]);
}

/// Any Unicode, NUL included.
pub async fn any_text_survives(store: Store) {
    for (n, text_in) in ["\0", "ünï\u{1F980}\u{10FFFF}", "'\"\\;--\u{2028}\r\n", ""].into_iter().enumerate() {
        let mut odd = record("ns", "ns/a", id(n as u64), 1);
        odd.subject = text_in.into();
        odd.logs = vec![text_in.into(), String::new(), text_in.repeat(3)];
        odd.response.result = serde_json::value::to_raw_value(text_in).ok();
        odd.annotations.set_value(text_in, text_in);
        put(&store, &odd).await;
        assert_eq!(text(&store.get(&parse("ns"), odd.id).await.unwrap()), text(&odd));
    }
}

/// 10 MB of logs, the most that OpenWhisk keeps by default, and a large result.
pub async fn a_record_of_megabytes_reads_back(store: Store) {
    let mut large = record("ns", "ns/a", id(1), 1);
    large.logs = vec!["x".repeat(100); 100_000];
    large.response.result = serde_json::value::to_raw_value(&"y".repeat(1024 * 1024)).ok();
    put(&store, &large).await;
    let read = store.get(&parse("ns"), id(1)).await.unwrap();
    assert!(text(&read) == text(&large));
    assert_eq!(store.list(&all_of("ns"), WHOLE).await.unwrap(), [Summary::from(&large)]);
}

/// Those that started before the given time.
pub async fn old_records_are_pruned(store: Store) {
    store.put(&records(1..=9)).await.unwrap();
    put(&store, &record("other", "other/a", id(100), 2)).await;
    assert_eq!(prune(&store, 0, u64::MAX).await, 0);
    assert_eq!(prune(&store, 5, u64::MAX).await, 5);
    assert_eq!(left(&store).await, [9, 8, 7, 6, 5].map(id));
    assert!(store.known(&parse("ns"), &[1, 4].map(id)).await.unwrap().is_empty());
    assert!(store.known(&parse("other"), &[id(100)]).await.unwrap().is_empty());
    for (whose, count) in [("ns", 5), ("other", 0)] {
        assert_eq!(store.count(&all_of(whose)).await.unwrap(), count);
    }
    let by_name = ActivationQuery { name: Some(parse("ns/a")), ..all_of("ns") };
    assert_eq!(store.count(&by_name).await.unwrap(), 5);
    assert!(matches!(store.get(&parse("ns"), id(4)).await, Err(Error::Missing)));

    // What went can be written again.
    store.put(&records([4])).await.unwrap();
    assert_eq!(left(&store).await, [9, 8, 7, 6, 5, 4].map(id));
    assert_eq!(prune(&store, u64::MAX, u64::MAX).await, 6);
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 0);
}

/// Over all namespaces, by start and then by id.
pub async fn surplus_records_are_pruned_oldest_first(store: Store) {
    for (whose, n, start) in [("ns", 1, 50), ("ns", 4, 10), ("ns", 3, 10), ("ns", 2, 30), ("ns", 6, 10)] {
        put(&store, &record(whose, "ns/a", id(n), start)).await;
    }
    put(&store, &record("other", "ns/a", id(5), 20)).await;
    assert_eq!(prune(&store, 0, 6).await, 0);
    assert_eq!(prune(&store, 0, 4).await, 2);
    assert_eq!(left(&store).await, [1, 2, 6].map(id));
    assert_eq!(store.known(&parse("other"), &[id(5)]).await.unwrap(), [id(5)]);
    assert_eq!(prune(&store, 0, 2).await, 2);
    assert_eq!(left(&store).await, [1, 2].map(id));
    assert_eq!(prune(&store, 40, 2).await, 1, "age and count together");
    assert_eq!(prune(&store, 0, 0).await, 1);
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 0);
}

/// So that writers are not kept waiting.
pub async fn pruning_takes_bounded_steps(store: Store) {
    for from in (0..5_000).step_by(500) {
        store.put(&records(from..from + 500)).await.unwrap();
    }
    let all = Retention { not_before: u64::MAX, max_count: 0 };
    let step = store.prune(all).await.unwrap();
    assert!((1..5_000).contains(&step), "{step} in one step");
    let oldest: Vec<_> = (0..step).map(id).collect();
    assert!(store.known(&parse("ns"), &oldest).await.unwrap().is_empty(), "the oldest go first");
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 5_000 - step);
    assert_eq!(prune(&store, u64::MAX, 0).await, 5_000 - step);
}

/// And some write the same.
pub async fn concurrent_writers_lose_nothing(store: Store) {
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let first = (writer / 2) * 1_000 + round * 5;
                    store.put(&records(first..first + 5)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 800);
    assert_eq!(left(&store).await.len(), 800);
}

/// Whichever it is, the whole of it and nothing of the others.
pub async fn of_concurrent_records_under_one_id_one_is_kept(store: Store) {
    for round in 0..4 {
        // In other places of other batches, and with other times: two servers
        // may both believe that they have the record.
        let writers: Vec<_> = (0..8)
            .map(|writer: u64| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut batch = records(round * 1_000 + writer * 10..round * 1_000 + writer * 10 + 5);
                    let names = ["ns/a", "ns/b"];
                    let start = (writer % 3) * 100_000_000;
                    let contested = record("ns", names[writer as usize % 2], id(9_000 + round), start);
                    batch.insert(writer as usize % 5, Arc::new(contested));
                    if writer % 2 == 1 {
                        batch.reverse();
                    }
                    store.put(&batch).await.unwrap();
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let kept = store.get(&parse("ns"), id(9_000 + round)).await.unwrap();
        let listed = store.list_full(&all_of("ns"), WHOLE, u64::MAX).await.unwrap();
        let same: Vec<_> = listed.iter().filter(|record| record.id == kept.id).map(text).collect();
        assert_eq!(same, [text(&kept)]);
        assert_eq!(listed.len() as u64, (round + 1) * 41);
        assert_eq!(store.count(&all_of("ns")).await.unwrap(), (round + 1) * 41);
    }
}

async fn scan(store: &Store, limit: u64) -> Vec<Activation> {
    scanned(limit, async |after, portion| store.scan(after.as_ref(), portion).await).await
}

fn texts(records: &[Activation]) -> Vec<String> {
    let mut texts: Vec<_> = records.iter().map(text).collect();
    texts.sort();
    texts
}

/// Whole records, of all namespaces and times.
pub async fn a_scan_gives_everything_once(store: Store) {
    assert!(scan(&store, 10).await.is_empty());
    let mut written = Vec::new();
    for n in 0..20 {
        let whose = ["ns", "other", "ns 2"][n as usize % 3];
        let mut record = record(whose, &format!("{whose}/a"), id(1_000 - n), n * n * 40_000_000);
        record.logs = vec!["x".repeat(1_000)];
        put(&store, &record).await;
        written.push(record);
    }
    put(&store, &record("edge", "edge/a", ActivationId::from_bytes([0xff; 16]), u64::MAX)).await;
    written.push(record("edge", "edge/a", ActivationId::from_bytes([0xff; 16]), u64::MAX));
    for limit in [1, 4, 20, 21, 22, 1_000] {
        assert_eq!(texts(&scan(&store, limit).await), texts(&written), "portions of {limit}");
    }
    let few = store.scan(None, Portion { limit: 1_000, max_bytes: 2_500 }).await.unwrap();
    assert!((1..8).contains(&few.items.len()), "{} records of 1,000 bytes", few.items.len());
    assert!(few.next.is_some());
}

/// What is there all the time is given, once.
pub async fn a_scan_goes_on_while_others_write(store: Store) {
    store.put(&records(0..40)).await.unwrap();
    let (mut given, mut after, mut round) = (Vec::new(), None, 0);
    loop {
        let step = store.scan(after.as_ref(), Portion { limit: 7, max_bytes: u64::MAX }).await.unwrap();
        given.extend(step.items.into_iter().map(|record| record.unwrap().id));
        store.prune(Retention { not_before: round * 2, max_count: u64::MAX }).await.unwrap();
        store.put(&records(1_000 + round..1_001 + round)).await.unwrap();
        round += 1;
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    let mut once = given.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), given.len());
    assert!((round * 2..40).all(|n| given.contains(&id(n))), "{given:?}");
}

/// Far into the list too.
pub async fn many_records_are_listed_and_scanned(store: Store) {
    let many = many();
    for from in (0..many).step_by(500) {
        let batch = (from..many.min(from + 500)).map(|n| {
            let whose = ["ns", "other"][n as usize % 2];
            Arc::new(record(whose, &format!("{whose}/a{}", n % 7), id(n), n * 10_000))
        });
        store.put(&batch.collect::<Vec<_>>()).await.unwrap();
    }
    for whose in ["ns", "other"] {
        assert_eq!(store.count(&all_of(whose)).await.unwrap(), many / 2);
    }
    let page = ids(&store, &all_of("ns"), Page { skip: many / 4, limit: 3 }).await;
    assert_eq!(page, [0, 1, 2].map(|n| id(many - 2 - (many / 4 + n) * 2)));
    let since = ActivationQuery { since: Some(many * 5_000), ..all_of("ns") };
    assert_eq!(store.count(&since).await.unwrap(), many / 4);
    let mut all: Vec<_> = scan(&store, 300).await.iter().map(|record| record.id).collect();
    all.sort();
    assert!(all.iter().copied().eq((0..many).map(id)));
}
