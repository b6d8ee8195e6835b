//! A full disk fails writes and no reads, and heals by itself.
//!
//! The disk is a small tmpfs in a mount namespace of its own: the test runs
//! itself again in there, as root or as root of a user namespace.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{env, fs, process::Command, sync::Arc};

use whisker_entity::Activation;
use whisker_store::{
    Activations, Document, Entities, Error,
    testing::samples::{action, all_of, id, parse, record, records},
};
use whisker_store_embedded::{Config, Embedded};

/// Where the child mounts its disk.
const MOUNT: &str = "WHISKER_TEST_DISK_FULL_MOUNT";

#[test]
fn a_full_disk_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        child.args(["--user", "--map-root-user"]);
    }
    let status = child
        .args(["--mount", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "child_fills_its_disk", "--ignored", "--nocapture"])
        .env(MOUNT, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a mount namespace of its own"]
async fn child_fills_its_disk() {
    let disk = std::path::PathBuf::from(env::var(MOUNT).unwrap());
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&disk).status().unwrap();
    assert!(mount.success());
    let store = Arc::new(Embedded::open(&Config::new(disk.join("data"))).unwrap());
    fs::write(disk.join("ballast"), vec![0; 3 << 20]).unwrap();
    let code = "kept";
    Entities::put(&*store, &Document::Action(action("ns/a", code, 1)), None).await.unwrap();

    let mut written = 0;
    let failure = loop {
        match Activations::put(&*store, &[large(written)]).await {
            Ok(()) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 1_000, "the disk never fills");
    };
    assert!(matches!(failure, Error::Unavailable(_)), "{failure:?}");

    // Reads work, all that was confirmed is there, and what failed is not.
    assert_eq!(Activations::count(&*store, &all_of("ns")).await.unwrap(), written);
    assert_eq!(
        store.known(&parse("ns"), &[id(0), id(written - 1), id(written)]).await.unwrap(),
        [id(0), id(written - 1)]
    );
    let stored = Entities::get(&*store, &parse("ns/a")).await.unwrap();
    assert_eq!(&*store.code(stored.document.exec().unwrap().code().unwrap().hash()).await.unwrap(), code);
    let refused = Entities::put(&*store, &Document::Action(action("ns/b", &"x".repeat(1 << 20), 1)), None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");

    // Room comes back, and nobody has to do anything.
    fs::remove_file(disk.join("ballast")).unwrap();
    Activations::put(&*store, &records(10_000..10_100)).await.unwrap();
    Entities::put(&*store, &Document::Action(action("ns/b", "now", 1)), None).await.unwrap();
    assert_eq!(Activations::count(&*store, &all_of("ns")).await.unwrap(), written + 100);

    // What can never fit fails alone, and takes no room from others: code, which
    // is written in pieces and holds what it has until then, and a record.
    let endless = Document::Action(action("ns/c", &"x".repeat(20 << 20), 1));
    let code = Entities::put(&*store, &endless, None).await;
    assert!(matches!(code, Err(Error::Unavailable(_))), "{code:?}");
    let mut huge = record("ns", "ns/a", id(1 << 40), 1);
    huge.logs = vec!["x".repeat(20 << 20)];
    let (huge, one, other) = ([Arc::new(huge)], records(20_000..20_001), records(20_001..20_002));
    let (record, one, other) = tokio::join!(
        Activations::put(&*store, &huge),
        Activations::put(&*store, &one),
        Activations::put(&*store, &other)
    );
    assert!(matches!(record, Err(Error::Unavailable(_))), "{record:?}");
    one.and(other).unwrap();
    written += 2;

    drop(store);
    let store = Embedded::open(&Config::new(disk.join("data"))).unwrap();
    assert_eq!(Activations::count(&store, &all_of("ns")).await.unwrap(), written + 100);
}

/// A record of some 100 KB.
fn large(n: u64) -> Arc<Activation> {
    let mut record = record("ns", "ns/a", id(n), n);
    record.logs = vec!["x".repeat(100_000)];
    Arc::new(record)
}
