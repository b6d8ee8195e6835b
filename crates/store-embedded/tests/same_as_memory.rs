//! Whatever is done, the embedded member answers as the one in memory does.
#![allow(clippy::unwrap_used, reason = "tests")]

use whisker_store::testing::lives;
use whisker_store_embedded::{Config, Embedded};

#[test]
fn it_answers_as_memory_does() {
    // Few, since each makes a file.
    lives::it_answers_as_memory_does(64, async || {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(&Config::new(dir.path())).unwrap();
        (dir, store)
    });
}
