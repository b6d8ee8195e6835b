//! Numbers of invokers that are known by names.
//!
//! OpenWhisk keeps them in ZooKeeper; here the store does, in a package of
//! `whisk.system` that nobody else can read: its annotations are the names, and
//! their values the numbers. Two that ask at once are told apart by the
//! package's revision.

use anyhow::{Context, bail};
use whisker_bus::InvokerId;
use whisker_entity::{EntityPath, Millis, Package, Parameters, QualifiedName, Version};
use whisker_store::{Document, Entities, Error};

/// The package.
const PLACE: &str = "whisk.system/invoker-numbers";
/// How often it is tried while others write at the same time.
const TRIES: usize = 50;
/// Names that have numbers. Those of invokers that never come back can be
/// taken out of the package.
const NAMES_MAX: usize = 10_000;

/// The number of this name, which is a new one if it has none yet.
pub async fn of(name: &str, entities: &dyn Entities, now: fn() -> Millis) -> anyhow::Result<InvokerId> {
    let place: QualifiedName = PLACE.parse().context("the package's name is one")?;
    for _ in 0..TRIES {
        let (mut package, revision) = match entities.get(&place).await {
            Ok(stored) => match stored.document {
                Document::Package(package) => (package, Some(stored.revision)),
                _ => bail!("{PLACE} is no package, so that invokers cannot get numbers there: use --id"),
            },
            Err(Error::Missing) => (empty(&place), None),
            Err(error) => return Err(error).context("cannot read the numbers of invokers"),
        };
        let numbers = package.annotations.iter().filter_map(|known| known.value.as_u64());
        let next = numbers.max().map_or(0, |number| number + 1);
        let known = package.annotations.get(name).and_then(serde_json::Value::as_u64);
        if let Some(number) = known.and_then(|number| u32::try_from(number).ok()) {
            return Ok(InvokerId(number));
        }
        let number = u32::try_from(next).ok().context("there are no more numbers for invokers")?;
        if package.annotations.len() >= NAMES_MAX {
            bail!("{NAMES_MAX} invokers have numbers: take those that are gone out of {PLACE}");
        }
        package.annotations.set_value(name, number);
        package.updated = now();
        match entities.put(&Document::Package(package), revision.as_ref()).await {
            Ok(_) => return Ok(InvokerId(number)),
            // Another one got its number in between.
            Err(Error::Stale) => {}
            Err(error) => return Err(error).context("cannot write the numbers of invokers"),
        }
    }
    bail!("too many invokers ask for numbers at once")
}

fn empty(place: &QualifiedName) -> Package {
    Package {
        namespace: EntityPath::root(place.path.namespace.clone()),
        name: place.name.clone(),
        binding: None,
        parameters: Parameters::default(),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        updated: 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{collections::BTreeSet, sync::Arc};

    use whisker_store::Memory;

    use super::*;

    #[tokio::test]
    async fn a_name_keeps_its_number() {
        let store = Memory::new();
        let numbers = async |names: &[&str]| {
            let mut numbers = Vec::new();
            for name in names {
                numbers.push(of(name, &store, || 0).await.unwrap().0);
            }
            numbers
        };
        assert_eq!(numbers(&["a", "b", "a", "c", "b"]).await, [0, 1, 0, 2, 1]);
    }

    #[tokio::test]
    async fn those_that_ask_at_once_get_numbers_of_their_own() {
        let store = Arc::new(Memory::new());
        let asking = (0..20).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { of(&format!("host-{n}"), &*store, || 0).await.unwrap().0 })
        });
        let mut numbers = BTreeSet::new();
        for asked in asking.collect::<Vec<_>>() {
            numbers.insert(asked.await.unwrap());
        }
        assert_eq!(numbers, (0..20).collect());
    }
}
