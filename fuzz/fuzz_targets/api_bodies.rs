//! Request bodies are read or refused, never a panic; what is read as a payload
//! is one line of JSON that reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whisker_api::{ActionPut, ActionRules, Payload};
use whisker_entity::{LimitRanges, Manifest, Parameters};

fuzz_target!(|body: &[u8]| {
    let manifest = Manifest::parse(r#"{"runtimes":{"nodejs":[{"kind":"nodejs:20","image":{"prefix":"o","name":"n","tag":"t"}}]}}"#);
    let rules = ActionRules {
        manifest: &manifest.expect("a good manifest"),
        limits: &LimitRanges::default(),
        code_max_bytes: 1 << 10,
        parameters_max_bytes: 1 << 10,
        namespace: &"guest".parse().expect("a name"),
    };
    let _ = ActionPut::parse(body, &rules);
    if let Ok(payload) = Payload::parse(body) {
        let text = payload.over(&Parameters::default()).to_text();
        assert!(!text.get().contains(['\n', '\r']));
        assert!(Payload::parse(text.get().as_bytes()).is_ok());
    }
});
