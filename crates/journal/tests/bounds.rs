//! Limits, locks, and many users at once.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_journal::{Config, Durability, Error, Journal, MAX_ENTRY_BYTES, Token};

const MODES: [Durability; 2] = [Durability::Process, Durability::Power];

fn config(folder: &std::path::Path, durability: Durability) -> Config {
    Config { durability, segment_bytes: 64 << 10, max_live_bytes: 1 << 20, ..Config::new(folder) }
}

#[test]
fn a_folder_is_open_once_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Config::new(folder.path())).unwrap();
    assert!(matches!(Journal::open(Config::new(folder.path())), Err(Error::Locked { .. })));
    drop(journal);
    Journal::open(Config::new(folder.path())).unwrap();
}

#[test]
fn a_full_journal_says_so_and_takes_more_once_some_is_released() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(config(folder.path(), mode)).unwrap();
        let mut tokens: Vec<Token> = Vec::new();
        let error = loop {
            match journal.append(0, &[0; 1000]).wait() {
                Ok(token) => tokens.push(token),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Full { .. }) && error.is_full());
        assert_eq!(tokens.len(), 1024);
        journal.release_all(tokens.split_off(512));
        // In mode `Power` the release is on its way.
        let more = std::iter::repeat_with(|| journal.append(0, &[0; 1000]).wait());
        tokens.push(more.flatten().next().unwrap());
        assert!(journal.stats().live_bytes <= 514 * 1024);
    }
}

#[test]
fn one_old_entry_does_not_keep_the_disk() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(config(folder.path(), mode)).unwrap();
        let old = journal.append(9, b"old").wait().unwrap();
        let mut most = 0;
        for _ in 0..20_000 {
            let token = journal.append(0, &[1; 1000]).wait().unwrap();
            journal.release(token);
            most = most.max(journal.stats().disk_bytes);
        }
        assert!(most <= 6 * (64 << 10), "{most} bytes on disk");
        assert_eq!(journal.read(old).unwrap().payload, b"old");
        drop(journal);
        let (journal, recovery) = Journal::open(config(folder.path(), mode)).unwrap();
        assert_eq!(recovery.live[0].token, old);
        assert_eq!(journal.read(old).unwrap().payload, b"old");
    }
}

#[test]
fn many_restarts_do_not_leave_many_files() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..200 {
        let (journal, _) = Journal::open(config(folder.path(), Durability::Process)).unwrap();
        let kept = journal.append(0, b"one that stays for some lives").wait().unwrap();
        if journal.stats().live_entries > 20 {
            journal.release(kept);
        }
        assert!(journal.stats().segments <= 66);
    }
}

#[test]
fn entries_of_any_size_up_to_the_limit_are_taken() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let limits = Config { max_live_bytes: 256 << 20, ..config(folder.path(), mode) };
        let (journal, _) = Journal::open(limits.clone()).unwrap();
        let large = vec![3; MAX_ENTRY_BYTES];
        let none = journal.append(1, b"").wait().unwrap();
        let token = journal.append(2, &large).wait().unwrap();
        let error = journal.append(2, &vec![0; MAX_ENTRY_BYTES + 1]).wait().unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }));
        drop(journal);
        let (journal, _) = Journal::open(limits).unwrap();
        assert_eq!(journal.read(none).unwrap().payload, b"");
        assert!(journal.read(token).unwrap().payload == large);
    }
}

#[test]
fn an_append_that_is_dropped_is_withdrawn() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(config(folder.path(), mode)).unwrap();
        for _ in 0..100 {
            drop(journal.append(0, b"nobody waits"));
        }
        let kept = journal.append(0, b"kept").wait().unwrap();
        while journal.stats().live_entries > 1 {
            std::thread::yield_now();
        }
        journal.read(kept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_in_mode_power_share_syncs_and_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(config(folder.path(), Durability::Power)).unwrap();
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..64_u8)
        .map(|task| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for n in 0..100_u8 {
                    let payload = [task, n].repeat(1 + usize::from(n));
                    let token = journal.append(task, &payload).await.unwrap();
                    match n % 10 {
                        0 => kept.push((token, task, payload)),
                        _ => journal.release(token),
                    }
                }
                kept
            })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    drop(Arc::into_inner(journal).unwrap());
    let (journal, recovery) = Journal::open(config(folder.path(), Durability::Power)).unwrap();
    kept.sort();
    let found: Vec<_> =
        recovery.live.iter().map(|live| (live.token, live.tag, journal.read(live.token).unwrap().payload)).collect();
    assert!(found == kept);
}

#[test]
fn the_mode_can_be_changed_between_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for life in 0..6_usize {
        let (journal, recovery) = Journal::open(config(folder.path(), MODES[life % 2])).unwrap();
        assert_eq!(recovery.live.iter().map(|live| live.token).collect::<Vec<_>>(), kept);
        kept.push(journal.append(0, b"kept").wait().unwrap());
    }
}
