//! An archive from outside is judged without a panic and within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whisker_artifacts::archive::{Limits, check};

fuzz_target!(|code: &[u8]| {
    let _ = check(code, Limits { bytes: 1 << 20, entries: 100 });
});
