//! The original `wsk` against the real binary: it prints what it prints with
//! OpenWhisk. No package registry has that client, so this is no part of `make
//! test`: `make test-clients WSK=path` runs it.

use std::path::Path;

use whisker_compat::{Commands, Differences};
use whisker_testkit::{GUEST, Server};

#[test]
fn it_prints_what_it_prints_with_openwhisk() {
    let wsk = std::env::var_os("WSK").expect("WSK=path says which wsk");
    let server = Server::start();
    let folder = server.data_dir().with_file_name("wsk");
    std::fs::create_dir(&folder).expect("a new folder");
    let url = format!("http://{}", server.address());
    let (tally, failures) = Commands::read().play(&Differences::read(), Path::new(&wsk), &folder, &url, GUEST);
    eprintln!("wsk: {tally}");
    assert!(failures.is_empty(), "wsk: {tally}\n{}", failures.join("\n"));
}
