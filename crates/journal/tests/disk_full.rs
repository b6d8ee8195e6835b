//! A disk that is really full: a small file system in memory, in a mount
//! namespace of its own. (The same on a failing disk made of code, byte by
//! byte, is in the unit tests.)

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the child tells its parent that it ran")]

use std::fs;
use std::process::Command;

use whisker_journal::{Config, Durability, Error, Journal};

const FOLDER: &str = "WHISKER_TEST_SMALL_DISK";

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=1m none "$WHISKER_TEST_SMALL_DISK" && exec "$0" --exact child --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("recovered").count(), 2, "{said}");
}

/// Not a test by itself: what runs on the small disk.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ballast = std::path::Path::new(&folder).join("ballast");
    for durability in [Durability::Process, Durability::Power] {
        let config = Config { durability, segment_bytes: 128 << 10, ..Config::new(&folder) };
        let (journal, _) = Journal::open(config.clone()).unwrap();
        fs::write(&ballast, vec![0; 512 << 10]).unwrap();
        let mut tokens = Vec::new();
        let error = loop {
            match journal.append(0, &[1; 3000]).wait() {
                Ok(token) => tokens.push(token),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::DiskFull(_)) && error.is_full(), "{error:?}");
        assert!(tokens.len() > 100);
        for token in &tokens {
            assert_eq!(journal.read(*token).unwrap().payload, [1; 3000]);
        }

        // Room made by someone else.
        fs::remove_file(&ballast).unwrap();
        tokens.push(journal.append(0, &[1; 3000]).wait().unwrap());
        // Full again, and opened while it is.
        while let Ok(token) = journal.append(0, &[1; 3000]).wait() {
            tokens.push(token);
        }
        drop(journal);
        let (journal, recovery) = Journal::open(config.clone()).unwrap();
        assert_eq!(recovery.live.iter().map(|live| live.token).collect::<Vec<_>>(), tokens);
        // Room made by releasing.
        journal.release_all(tokens);
        let more = std::iter::repeat_with(|| journal.append(0, &[2; 3000]).wait()).flatten().next().unwrap();
        drop(journal);
        let (journal, recovery) = Journal::open(config).unwrap();
        assert_eq!((recovery.live.len(), recovery.torn, recovery.lost.len()), (1, None, 0));
        journal.release(more);
        println!("recovered");
    }
}
