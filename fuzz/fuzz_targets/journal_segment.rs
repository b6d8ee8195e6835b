//! Any bytes as a segment of the journal: no panic, no byte unaccounted for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whisker_journal::fuzz_segment(bytes);
});
