//! Seeds that hold, and chains that are broken on purpose and found.

#![expect(clippy::panic, reason = "a seed that fails says how to live it again")]

use whisker_simulation::{Broken, Sabotage, Seen, run};

/// Lived by every `make test`; `make simulate` lives many more.
const SEEDS: u64 = 300;

#[test]
fn everything_holds() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        match run(seed, Sabotage::Nothing) {
            Ok(more) => seen += more,
            Err(broken) => {
                panic!("seed {seed}: {broken}; to live it again: cargo run --release -p whisker-simulation -- {seed}")
            }
        }
    }
    // Where nothing happens, nothing is shown.
    let Seen {
        accepted,
        answered,
        refused,
        runs,
        interrupted,
        repeated,
        rescued,
        lost_claims,
        unsettled,
        forced,
        faults,
    } = seen;
    for (what, count) in [
        ("accepted", accepted),
        ("answered", answered),
        ("refused", refused),
        ("runs", runs),
        ("interrupted", interrupted),
        ("repeated", repeated),
        ("rescued", rescued),
        ("lost claims", lost_claims),
        ("claims that were not answered", unsettled),
        ("forced", forced),
        ("faults", faults),
    ] {
        assert!(count > 10, "{what}: only {count} in {SEEDS} seeds; {seen:?}");
    }
}

#[test]
fn a_seed_is_one_life() {
    for seed in [3, 14, 159] {
        assert_eq!(run(seed, Sabotage::Nothing), run(seed, Sabotage::Nothing));
        assert_eq!(run(seed, Sabotage::ClaimsIgnored), run(seed, Sabotage::ClaimsIgnored));
    }
}

/// The first of some seeds that shows it.
fn found(sabotage: Sabotage) -> Option<Broken> {
    (0..SEEDS).find_map(|seed| run(seed, sabotage).err())
}

#[test]
fn each_broken_chain_is_found() {
    for sabotage in Sabotage::ALL {
        let found = found(sabotage);
        let expected = match sabotage {
            Sabotage::Nothing => found.is_none(),
            Sabotage::ClaimsIgnored | Sabotage::DoubtIgnored => matches!(found, Some(Broken::RanTwice(_))),
            Sabotage::CommittedEarly | Sabotage::DoneEarly => matches!(found, Some(Broken::Lost(_))),
            Sabotage::SilenceIgnored => matches!(found, Some(Broken::UsedOffline { .. })),
            Sabotage::FreedEarly => matches!(found, Some(Broken::Overdrawn { .. })),
            Sabotage::InterruptedUnasked | Sabotage::ClaimGivenUp => matches!(found, Some(Broken::NeverBegun(_))),
            Sabotage::RecordedUnrun => matches!(found, Some(Broken::Invented(_))),
        };
        assert!(expected, "{sabotage:?} was found as {found:?}");
    }
}
