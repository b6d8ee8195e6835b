//! Any bytes as a request for a web action: no panic, nothing forged.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whisker_controller::fuzz_web_request(bytes);
});
