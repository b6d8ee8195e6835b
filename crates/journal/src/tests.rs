//! What the journal does when its disk fails, or what it wrote is damaged.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use whisker_secrets::{Algorithm, Key, Seals, Secrets};

use crate::file::Disk;
use crate::payload::Payload;
use crate::{Config, Damaged, Durability, Error, Journal, Recovery, Token};

const MODES: [Durability; 2] = [Durability::Process, Durability::Power];

fn config(folder: &Path, durability: Durability) -> Config {
    Config { durability, segment_bytes: 4096, ..Config::new(folder) }
}

fn open(folder: &Path, durability: Durability) -> (Journal, Recovery) {
    Journal::open(config(folder, durability)).unwrap()
}

fn payloads(journal: &Journal, recovery: &Recovery) -> Vec<Vec<u8>> {
    recovery.live.iter().map(|live| journal.read(live.token).unwrap().payload).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    files
}

fn put(journal: &Journal, payload: &[u8]) -> Token {
    journal.append(1, payload).wait().unwrap()
}

#[test]
fn a_full_disk_fails_the_append_leaves_no_trace_and_heals() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (journal, _) = Journal::open_on(disk.clone(), config(folder.path(), mode)).unwrap();
        let before = put(&journal, b"before");
        for room in 0..40 {
            disk.faults.room.store(room, SeqCst);
            let error = journal.append(1, &[0; 100]).wait().unwrap_err();
            assert!(matches!(error, Error::DiskFull(_)) && error.is_full(), "{error:?}");
        }
        assert_eq!(journal.stats().live_bytes, 24 + 6, "what failed is not held against the limit");
        // A release holds even though it cannot be written.
        journal.release(before);
        disk.faults.room.store(usize::MAX, SeqCst);
        put(&journal, b"after");
        drop(journal);
        let (journal, recovery) = open(folder.path(), mode);
        assert_eq!((recovery.torn.as_ref(), recovery.lost.len()), (None, 0));
        assert_eq!(payloads(&journal, &recovery), [b"after"]);
    }
}

#[test]
fn a_partial_write_that_cannot_be_cut_off_blocks_appends_until_it_can() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (journal, _) = Journal::open_on(disk.clone(), config(folder.path(), mode)).unwrap();
        put(&journal, b"before");
        disk.faults.room.store(30, SeqCst);
        disk.faults.cut_fails.store(true, SeqCst);
        journal.append(1, &[7; 100]).wait().unwrap_err();
        disk.faults.room.store(usize::MAX, SeqCst);
        journal.append(1, b"x").wait().unwrap_err();
        disk.faults.cut_fails.store(false, SeqCst);
        put(&journal, b"after");
        drop(journal);
        let (journal, recovery) = open(folder.path(), mode);
        assert_eq!(payloads(&journal, &recovery), [&b"before"[..], b"after"]);
    }
}

#[test]
fn a_disk_too_full_to_begin_a_segment_heals() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        disk.faults.room.store(10, SeqCst);
        let (journal, _) = Journal::open_on(disk.clone(), config(folder.path(), mode)).unwrap();
        journal.append(1, b"x").wait().unwrap_err();
        assert_eq!(segments(folder.path()).len(), 0);
        disk.faults.room.store(usize::MAX, SeqCst);
        put(&journal, b"after");
    }
}

#[test]
fn what_could_not_be_synced_is_not_there_later() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (journal, _) = Journal::open_on(disk.clone(), config(folder.path(), Durability::Power)).unwrap();
    let released = put(&journal, b"released");
    put(&journal, b"before");
    disk.faults.sync_fails.store(true, SeqCst);
    // The cut fails too, so that the entry's bytes stay in the file.
    disk.faults.cut_fails.store(true, SeqCst);
    journal.release(released);
    assert!(matches!(journal.append(1, b"unsynced").wait(), Err(Error::Io { .. })));
    disk.faults.sync_fails.store(false, SeqCst);
    disk.faults.cut_fails.store(false, SeqCst);
    put(&journal, b"after");
    drop(journal);
    let (journal, recovery) = open(folder.path(), Durability::Power);
    assert_eq!(payloads(&journal, &recovery), [&b"before"[..], b"after"]);
}

#[test]
fn damage_in_the_middle_is_refused_by_name_or_salvaged_and_kept() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path(), mode);
        for n in 0..40_u8 {
            put(&journal, &[n; 500]);
        }
        drop(journal);
        let files = segments(folder.path());
        assert!(files.len() > 3);
        // One byte in the last file, in front of entries that were answered,
        // and one in an earlier file.
        for (file, lost) in [(files.last().unwrap(), 1), (&files[1], 1)] {
            let mut bytes = fs::read(file).unwrap();
            let count = bytes.len();
            bytes[64 + 300] ^= 1;
            fs::write(file, &bytes).unwrap();
            let error = Journal::open(config(folder.path(), mode)).unwrap_err();
            assert!(matches!(&error, Error::Corrupt { file: named, offset: 64, .. } if named == file), "{error:?}");
            let salvage = Config { damaged: Damaged::Salvage, ..config(folder.path(), mode) };
            let (journal, recovery) = Journal::open(salvage).unwrap();
            assert_eq!(recovery.lost.len(), lost);
            assert_eq!((recovery.lost[0].offset, recovery.lost[0].bytes), (64, 524));
            assert_eq!(fs::read(recovery.lost[0].kept.as_ref().unwrap()).unwrap().len(), count);
            drop(journal);
        }
        let (journal, recovery) = open(folder.path(), mode);
        assert_eq!(recovery.lost, [], "what was salvaged is whole now");
        assert_eq!(payloads(&journal, &recovery).len(), 38);
    }
}

#[test]
fn a_missing_or_foreign_segment_is_refused_and_can_be_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), Durability::Process);
    for n in 0..40_u8 {
        put(&journal, &[n; 500]);
    }
    drop(journal);
    let files = segments(folder.path());
    fs::remove_file(&files[1]).unwrap();
    fs::write(&files[3], b"this is a letter to my aunt, and not a journal file; it has 64 bytes").unwrap();
    let config = config(folder.path(), Durability::Process);
    let error = Journal::open(config.clone()).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { file, .. } if *file == files[1]), "{error:?}");
    let (journal, recovery) = Journal::open(Config { damaged: Damaged::Salvage, ..config }).unwrap();
    assert_eq!(recovery.lost.iter().map(|lost| &lost.file).collect::<Vec<_>>(), [&files[1], &files[3]]);
    assert_eq!(payloads(&journal, &recovery).len(), 40 - 7 - 7);
}

#[test]
fn a_power_cut_may_take_bytes_that_were_never_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), Durability::Process);
    for n in 0..20_u8 {
        put(&journal, &[n; 500]);
    }
    drop(journal);
    // As though the first file had been written before the machine started.
    let first = &segments(folder.path())[0];
    let mut bytes = fs::read(first).unwrap();
    let mut header = crate::segment::Header::decode(&bytes).unwrap();
    header.boot[0] ^= 1;
    bytes[..64].copy_from_slice(&header.encode());
    bytes[1000..1500].fill(0);
    fs::write(first, bytes).unwrap();
    let (journal, recovery) = open(folder.path(), Durability::Process);
    assert_eq!(recovery.lost.len(), 1);
    assert_eq!(payloads(&journal, &recovery).len(), 18);
}

#[test]
fn a_payload_that_looks_like_frames_is_not_taken_for_some() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), Durability::Process);
    put(&journal, b"an entry to be copied by the attacker");
    put(&journal, b"another");
    drop(journal);
    // A user stores the bytes of a real segment, with frames and all.
    let forged = fs::read(&segments(folder.path())[0]).unwrap();
    let (journal, _) = open(folder.path(), Durability::Process);
    put(&journal, &forged);
    drop(journal);
    // The write was torn in its last byte.
    let last = segments(folder.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    let (_journal, recovery) = open(folder.path(), Durability::Process);
    assert_eq!(recovery.live.len(), 2);
    assert_eq!(recovery.torn.unwrap().offset, 64);
}

#[test]
fn a_torn_group_is_cut_off_even_when_its_end_arrived_first() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), Durability::Power);
    put(&journal, b"answered");
    let mut batch = journal.shared().log().batch(300).unwrap();
    for seq in 100..103 {
        let bytes = [b'g'; 76].as_slice().into();
        batch.entry(seq, &Payload { tag: 1, sealed: false, crc: crc32fast::hash(&[b'g'; 76]), bytes });
    }
    journal.shared().log().write(&batch).unwrap();
    drop(journal);
    let file = &segments(folder.path())[0];
    let mut bytes = fs::read(file).unwrap();
    let group = bytes.len() - 300;
    // The disk wrote the second page of the group, and not the first.
    bytes[group..group + 50].fill(0);
    fs::write(file, bytes).unwrap();
    let (journal, recovery) = open(folder.path(), Durability::Power);
    assert_eq!(payloads(&journal, &recovery), [b"answered"]);
    assert_eq!(recovery.torn.map(|torn| torn.bytes), Some(300));
}

fn seals(first: u8, others: &[u8]) -> Seals {
    let key = |byte: &u8| Key::parse(Algorithm::Aes256, &STANDARD.encode([*byte; 32])).unwrap();
    let secrets = Secrets::new([first].iter().chain(others).map(key));
    secrets.encrypting_with(Algorithm::Aes256).unwrap().seals().unwrap()
}

fn hits(folder: &Path) -> usize {
    let secret = b"s3cret";
    let found = |bytes: Vec<u8>| bytes.windows(secret.len()).filter(|window| *window == secret).count();
    segments(folder).into_iter().map(|file| found(fs::read(file).unwrap())).sum()
}

#[test]
fn entries_are_sealed_and_an_older_key_is_needed_for_one_start() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let with = |seals: Seals| Journal::open(Config { seals, ..config(folder.path(), mode) });
        let (journal, _) = open(folder.path(), mode);
        let texts: Vec<_> = (0..40).map(|n| format!("s3cret {n} {}", "x".repeat(300)).into_bytes()).collect();
        let tokens: Vec<_> = texts.iter().map(|text| put(&journal, text)).collect();
        journal.release_all(tokens.into_iter().step_by(2));
        drop(journal);
        let live: Vec<_> = texts.into_iter().skip(1).step_by(2).collect();
        assert!(hits(folder.path()) >= live.len());

        for seals in [seals(1, &[]), seals(2, &[1]), seals(2, &[])] {
            let (journal, recovery) = with(seals).unwrap();
            assert_eq!(payloads(&journal, &recovery), live);
            let before = journal.stats().live_bytes;
            journal.release(put(&journal, b"s3cret"));
            drop(journal);
            assert_eq!(hits(folder.path()), 0, "none is left, released ones included");
            assert!(before > 0);
        }
        for lost in [seals(1, &[]), Seals::default()] {
            assert!(matches!(with(lost).unwrap_err(), Error::Unsealable { .. }));
        }
        let (journal, recovery) = with(seals(2, &[])).unwrap();
        journal.release_all(recovery.live.iter().map(|live| live.token));
        drop(journal);
        let (journal, recovery) = with(seals(2, &[])).unwrap();
        assert_eq!((recovery.live.len(), journal.stats().live_bytes), (0, 0), "what was sealed anew is counted once");
    }
}

#[test]
fn an_entry_of_another_journal_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, spool) = (folder.path().join("bus"), folder.path().join("spool"));
    let with = |folder: &Path| Journal::open(Config { seals: seals(1, &[]), ..Config::new(folder) });
    put(&with(&bus).unwrap().0, b"s3cret");
    fs::rename(&bus, &spool).unwrap();
    assert!(matches!(with(&spool).unwrap_err(), Error::Unsealable { .. }));
}

#[test]
fn what_cannot_be_sealed_anew_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), Durability::Process);
    put(&journal, b"s3cret");
    drop(journal);
    let disk = Disk::default();
    disk.faults.room.store(100, SeqCst);
    let sealing = Config { seals: seals(1, &[]), ..config(folder.path(), Durability::Process) };
    let (journal, recovery) = Journal::open_on(disk, sealing).unwrap();
    assert_eq!(payloads(&journal, &recovery), [b"s3cret"]);
}

proptest! {
    #[test]
    fn a_mangled_segment_is_read_without_panic_and_each_byte_accounted_for(
        sizes in prop::collection::vec(0..300_usize, 0..20),
        blows in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path(), Durability::Process);
        let tokens: Vec<_> = sizes.iter().map(|size| put(&journal, &vec![5; *size])).collect();
        journal.release_all(tokens.into_iter().step_by(2));
        for path in segments(folder.path()) {
            let mut bytes = fs::read(path).unwrap();
            for (at, byte) in &blows {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(end.index(bytes.len() + 1));
            crate::segment::fuzz(&bytes);
        }
    }
}
