//! Names, paths, ids, versions, keys and bus messages: read or refused, and
//! what is read is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whisker_bus::{AckMessage, ActivationMessage, CacheInvalidation, ControllerPing, InvokerPing};
use whisker_entity::{ActivationId, AuthKey, EntityName, QualifiedName, Version};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = EntityName::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = QualifiedName::parse(text) {
        assert_eq!(QualifiedName::parse(&name.to_string()), Ok(name));
    }
    if let Ok(id) = text.parse::<ActivationId>() {
        assert_eq!(id.to_string(), text);
    }
    let _ = text.parse::<Version>();
    let _ = AuthKey::parse(text);
    let _ = serde_json::from_str::<ActivationMessage>(text);
    if let Ok(message) = serde_json::from_str::<AckMessage>(text) {
        assert!(serde_json::to_string(&message.shrunk()).is_ok());
    }
    let _ = serde_json::from_str::<InvokerPing>(text);
    let _ = serde_json::from_str::<ControllerPing>(text);
    let _ = serde_json::from_str::<CacheInvalidation>(text);
});
