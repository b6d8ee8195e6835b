//! The member in memory keeps the contract, and the contract is all of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::Memory;

whisker_store::contract_tests!(async || ((), Arc::new(Memory::new())));

#[test]
fn every_test_of_the_contract_is_run() {
    let listed = |contract: &str| {
        let list = include_str!("../src/testing.rs").split_once(&format!("$open, {contract}:")).unwrap().1;
        list.split_once(");").unwrap().0.split_whitespace().collect::<Vec<_>>()
    };
    for (contract, source) in [
        ("activations", include_str!("../src/testing/activations.rs")),
        ("entities", include_str!("../src/testing/entities.rs")),
        ("subjects", include_str!("../src/testing/subjects.rs")),
    ] {
        let written = source.split("pub async fn ").skip(1).filter_map(|rest| rest.split('(').next());
        assert_eq!(written.collect::<Vec<_>>(), listed(contract));
    }
}
