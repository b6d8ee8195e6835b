//! Append rates of both modes, beside what the disk does without us.
//!
//! `cargo bench -p whisker-journal`, in the folder `WHISKER_BENCH_DIR` or the
//! system's temporary one. Each line is one measurement of about a second.

#![expect(clippy::print_stdout, reason = "its figures are what a bench is for")]
#![expect(clippy::unwrap_used, reason = "a bench may stop at what it did not expect")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whisker_journal::{Config, Durability, Journal};

const ENTRY: [u8; 600] = [b'x'; 600];
const SPAN: Duration = Duration::from_secs(1);

fn main() {
    let base = std::env::var_os("WHISKER_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).unwrap();
    println!("entries of {} bytes in {}", ENTRY.len(), folder.path().display());

    let floor = bare(folder.path(), 1, false);
    show("bare write", floor, floor);
    let rate = process(folder.path(), false);
    show("process: append", rate, floor);
    let rate = process(folder.path(), true);
    show("process: append and release", rate, floor);

    let floor = bare(folder.path(), 1, true);
    show("bare write and fdatasync", floor, floor);
    let rate = power(folder.path(), 1);
    show("power: 1 in flight", rate, floor);
    let floor = bare(folder.path(), 64, true);
    show("bare writes of 64, fdatasync each", floor, floor);
    for in_flight in [16, 64, 256] {
        let rate = power(folder.path(), in_flight);
        show(&format!("power: {in_flight} in flight"), rate, floor);
    }
}

fn show(what: &str, rate: f64, floor: f64) {
    println!("{what:36} {rate:>10.0} entries/s  {:>6.1} µs  {:.2} × floor", 1e6 / rate, rate / floor);
}

/// Groups of entries written by hand.
fn bare(folder: &Path, group: usize, sync: bool) -> f64 {
    let path = folder.join("bare");
    let mut file = File::create(&path).unwrap();
    let bytes = ENTRY.repeat(group);
    let (start, mut entries) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        file.write_all(&bytes).unwrap();
        if sync {
            file.sync_data().unwrap();
        }
        entries += group;
    }
    let rate = entries as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    rate
}

fn open(folder: &Path, durability: Durability) -> Journal {
    let folder = folder.join("journal");
    let _ = std::fs::remove_dir_all(&folder);
    let config = Config { durability, max_live_bytes: 4 << 30, ..Config::new(folder) };
    Journal::open(config).unwrap().0
}

fn process(folder: &Path, release: bool) -> f64 {
    let journal = open(folder, Durability::Process);
    let (start, mut entries) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        for _ in 0..64 {
            let token = journal.append(0, &ENTRY).wait().unwrap();
            if release {
                journal.release(token);
            }
        }
        entries += 64;
    }
    entries as f64 / start.elapsed().as_secs_f64()
}

/// Tasks that each append, wait for the sync, release, and go on.
fn power(folder: &Path, in_flight: usize) -> f64 {
    let journal = Arc::new(open(folder, Durability::Power));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let start = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let journal = Arc::clone(&journal);
            runtime.spawn(async move {
                let mut entries = 0_u64;
                while start.elapsed() < SPAN {
                    let token = journal.append(0, &ENTRY).await.unwrap();
                    journal.release(token);
                    entries += 1;
                }
                entries
            })
        })
        .collect();
    let entries: u64 = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).sum();
    entries as f64 / start.elapsed().as_secs_f64()
}
