//! Any JSON as the result of a web action: no panic, nothing smuggled into the
//! response's head.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    whisker_controller::fuzz_web_result(text);
});
