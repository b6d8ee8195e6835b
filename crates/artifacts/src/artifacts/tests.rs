#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::*;

fn key(name: &str) -> Key {
    Key::of([name.as_bytes()])
}

fn open(folder: &tempfile::TempDir, limit_bytes: u64) -> Artifacts {
    Artifacts::open(&folder.path().join("artifacts"), limit_bytes).unwrap()
}

async fn write(folder: PathBuf, bytes: usize) -> Result<(), Failure> {
    Ok(fs::write(folder.join("file"), vec![b'x'; bytes])?)
}

/// Must not be called.
async fn never(_: PathBuf) -> Result<(), Failure> {
    panic!("made again")
}

fn content(held: &Held) -> usize {
    fs::read(held.folder().join("file")).unwrap().len()
}

#[tokio::test]
async fn many_who_ask_at_once_get_one_that_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder, 1 << 20);
    let made = Arc::new(AtomicUsize::new(0));
    let asked = (0..20).map(|_| {
        let (artifacts, made) = (artifacts.clone(), made.clone());
        tokio::spawn(async move {
            let make = async move |folder| {
                made.fetch_add(1, Ordering::Relaxed);
                write(folder, 10).await
            };
            artifacts.get(key("a"), make).await.unwrap()
        })
    });
    for held in asked.collect::<Vec<_>>() {
        assert_eq!(content(&held.await.unwrap()), 10);
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder, 1 << 20);
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (begun.clone(), go.clone());
    let asked = artifacts.get(key("a"), async move |folder| {
        begins.notify_one();
        goes.notified().await;
        write(folder, 10).await
    });
    tokio::select! {
        _ = asked => panic!("it waits for us"),
        () = begun.notified() => {}
    }
    go.notify_one();
    artifacts.get(key("a"), never).await.unwrap();
}

#[tokio::test]
async fn what_was_made_is_there_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, 1 << 20).get(key("a"), |folder| write(folder, 10)).await.unwrap();
    let artifacts = open(&folder, 1 << 20);
    assert!(artifacts.bytes() > 0);
    assert_eq!(content(&artifacts.get(key("a"), never).await.unwrap()), 10);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder.path().join("artifacts")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it is the server's alone");
}

#[tokio::test]
async fn damaged_and_half_made_ones_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("artifacts/kept");
    {
        let artifacts = open(&folder, 1 << 20);
        for name in ["cut", "gone", "boot", "nonsense"] {
            artifacts.get(key(name), |folder| write(folder, 10_000)).await.unwrap();
        }
    }
    fs::write(kept.join(key("cut").to_string()).join("content/file"), "").unwrap();
    fs::remove_file(kept.join(key("gone").to_string()).join("entry")).unwrap();
    // Made in a boot whose power was cut before the disk had it.
    let boot = kept.join(key("boot").to_string());
    let entry = fs::read_to_string(boot.join("entry")).unwrap();
    let words: Vec<&str> = entry.split(' ').collect();
    fs::write(boot.join("entry"), format!("{} {} another-boot\n", words[0], words[1])).unwrap();
    while fs::remove_file(boot.join("synced")).is_err() {
        tokio::task::yield_now().await;
    }
    fs::write(kept.join(key("nonsense").to_string()).join("entry"), "\0").unwrap();
    fs::write(kept.join("stray"), "x").unwrap();
    fs::create_dir_all(folder.path().join("artifacts/making/3/content")).unwrap();

    let artifacts = open(&folder, 1 << 20);
    assert!(!kept.join("stray").exists());
    assert!(!folder.path().join("artifacts/making/3").exists());
    for name in ["cut", "gone", "boot", "nonsense"] {
        let held = artifacts.get(key(name), |folder| write(folder, 20)).await.unwrap();
        assert_eq!(content(&held), 20, "{name}");
    }
}

#[tokio::test]
async fn what_was_not_used_lately_makes_room_and_what_is_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    // Each takes three blocks: itself and 5000 bytes.
    let artifacts = open(&folder, 3 * 3 * 4096);
    let held = artifacts.get(key("held"), |folder| write(folder, 5000)).await.unwrap();
    for name in ["a", "b", "c", "d"] {
        artifacts.get(key(name), |folder| write(folder, 5000)).await.unwrap();
        assert!(artifacts.bytes() <= 9 * 4096);
    }
    artifacts.get(key("d"), never).await.unwrap();
    artifacts.get(key("c"), never).await.unwrap();
    assert_eq!(content(&held), 5000);
    let again = artifacts.get(key("a"), |folder| write(folder, 1)).await.unwrap();
    assert_eq!(content(&again), 1, "it had gone");
    drop((held, again));
}

#[tokio::test]
async fn there_is_no_room_when_all_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder, 4 * 4096);
    let held = artifacts.get(key("a"), |folder| write(folder, 5000)).await.unwrap();
    let refused = artifacts.get(key("b"), |folder| write(folder, 5000)).await;
    assert!(matches!(refused, Err(Failure::Host(_))), "{refused:?}");
    drop(held);
    artifacts.get(key("b"), |folder| write(folder, 5000)).await.unwrap();
    assert!(artifacts.bytes() <= 4 * 4096);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_as_long_as_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder, 1 << 20);
    let refused = Refusal::new("no").with_details("line 1\n");
    for lasts in [None, Some(Duration::from_secs(60))] {
        let name = format!("{lasts:?}");
        let refusal = Refusal { lasts, ..refused.clone() };
        let first = artifacts.get(key(&name), async move |_| Err(refusal.into())).await;
        assert_eq!(first.unwrap_err().to_string(), "no");
        let Err(Failure::Refused(again)) = artifacts.get(key(&name), never).await else { panic!("it was refused") };
        assert_eq!((&*again.words, &*again.details), ("no", "line 1\n"));
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    artifacts.get(key("None"), never).await.unwrap_err();
    artifacts.get(key("Some(60s)"), |folder| write(folder, 1)).await.unwrap();
    for n in 0..REFUSALS {
        artifacts.get(key(&n.to_string()), async |_| Err(Refusal::new("no").into())).await.unwrap_err();
    }
    artifacts.get(key("None"), |folder| write(folder, 1)).await.unwrap();
}

#[tokio::test]
async fn a_maker_that_panics_leaves_the_way_free() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder, 1 << 20);
    let failed = artifacts.get(key("a"), never).await;
    assert!(matches!(failed, Err(Failure::Host(_))));
    artifacts.get(key("a"), |folder| write(folder, 1)).await.unwrap();
}
