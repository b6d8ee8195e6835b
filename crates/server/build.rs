//! Tells the binary when its source was committed: what `wsk property get
//! --apibuild` shows. A build outside a checkout says `unknown`.

use std::process::Command;

fn main() {
    let committed = Command::new("git").args(["log", "-1", "--format=%cI"]).output().ok();
    let date = committed.filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    println!("cargo::rustc-env=WHISKER_BUILD_DATE={}", date.as_deref().map_or("unknown", str::trim));
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/refs/heads");
}
