//! The subjects that a new server starts with.

use std::net::IpAddr;

use anyhow::Context;
use whisker_entity::{AuthKey, Namespace, Subject};
use whisker_store::{Error, Subjects};

/// OpenWhisk's own: its users' namespace, and that of shared packages.
///
/// The keys are those that OpenWhisk publishes for its standalone server, so
/// that its guides and clients work unchanged. They are no secret, and so are
/// used on loopback only.
const STANDARD: [(&str, &str); 2] = [
    ("guest", "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"),
    (
        "whisk.system",
        "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP",
    ),
];

/// What was found or made.
pub struct Standard {
    /// Keys that may be shown, by subject: the published ones, or those that
    /// were made just now.
    pub shown: Vec<(&'static str, AuthKey)>,
}

impl Standard {
    /// Without what another server has replaced since: of several that start at
    /// once on an empty store each makes keys, and the last one's stay.
    pub async fn confirmed(self, subjects: &dyn Subjects) -> Self {
        let mut shown = Vec::new();
        for (name, key) in self.shown {
            match subjects.get(name).await {
                Ok(subject) if !subject.namespaces.iter().any(|namespace| namespace.key.matches(&key)) => {}
                // Nobody knows better while the store does not answer.
                Ok(_) | Err(_) => shown.push((name, key)),
            }
        }
        Self { shown }
    }
}

/// Makes the standard subjects where they are missing.
///
/// A server that was started on loopback and is now opened to a network would
/// be open to everyone with the published keys: those are replaced.
pub async fn ensure(subjects: &dyn Subjects, listen: IpAddr) -> anyhow::Result<Standard> {
    let mut shown = Vec::new();
    for (name, published) in STANDARD {
        let published = AuthKey::parse(published).context("the published keys are well formed")?;
        let (mut subject, is_new) = match subjects.get(name).await {
            Ok(subject) => (subject, false),
            Err(Error::Missing) => {
                let namespace = name.parse().context("the standard names are well formed")?;
                let namespaces = vec![Namespace { name: namespace, key: published.clone() }];
                (Subject { subject: name.into(), namespaces, blocked: false }, true)
            }
            Err(error) => return Err(error).context("cannot read the subjects"),
        };
        // The rest of the subject is as its administrator made it.
        let Some(open) = subject.namespaces.iter_mut().find(|namespace| namespace.key.matches(&published)) else {
            continue;
        };
        if !listen.is_loopback() {
            open.key = whisker_admin::fresh_key()?;
        }
        shown.push((name, open.key.clone()));
        if is_new || !listen.is_loopback() {
            subjects.put(&subject).await.with_context(|| format!("cannot write the subject {name}"))?;
        }
    }
    Ok(Standard { shown })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use whisker_store::Memory;

    use super::*;

    async fn keys(subjects: &Memory, listen: &str) -> Vec<(&'static str, String)> {
        let standard = ensure(subjects, listen.parse().unwrap()).await.unwrap();
        standard.shown.into_iter().map(|(name, key)| (name, key.expose())).collect()
    }

    #[tokio::test]
    async fn the_published_keys_work_on_loopback_and_nowhere_else() {
        let subjects = Memory::default();
        let published = STANDARD.map(|(name, key)| (name, key.to_owned()));
        assert_eq!(keys(&subjects, "127.0.0.1").await, published);
        assert_eq!(keys(&subjects, "127.0.0.1").await, published, "they are no secret, and shown again");
        let random = keys(&subjects, "0.0.0.0").await;
        assert_eq!(random.len(), 2);
        assert!(random.iter().zip(&published).all(|(new, old)| new.1 != old.1), "published keys are replaced");
        assert!(keys(&subjects, "0.0.0.0").await.is_empty(), "random ones are shown once");
        assert!(keys(&subjects, "127.0.0.1").await.is_empty(), "and stay");
    }

    #[tokio::test]
    async fn of_servers_that_start_at_once_one_shows_the_keys() {
        let (subjects, other) = (Memory::default(), Memory::default());
        let network = "0.0.0.0".parse().unwrap();
        let (first, last) = (ensure(&subjects, network).await.unwrap(), ensure(&other, network).await.unwrap());
        for (name, _) in STANDARD {
            subjects.put(&other.get(name).await.unwrap()).await.unwrap();
        }
        assert_eq!(first.confirmed(&subjects).await.shown.len(), 0);
        assert_eq!(last.confirmed(&subjects).await.shown.len(), 2);
    }

    #[tokio::test]
    async fn only_the_published_key_of_a_subject_is_replaced() {
        let subjects = Memory::default();
        keys(&subjects, "127.0.0.1").await;
        let mut guest = subjects.get("guest").await.unwrap();
        let own = Namespace { name: "own".parse().unwrap(), key: whisker_admin::fresh_key().unwrap() };
        guest.namespaces.insert(0, own.clone());
        guest.blocked = true;
        subjects.put(&guest).await.unwrap();
        keys(&subjects, "0.0.0.0").await;
        let after = subjects.get("guest").await.unwrap();
        assert!(after.blocked && after.namespaces[0].key.matches(&own.key), "that is its administrator's");
        assert!(!after.namespaces[1].key.matches(&guest.namespaces[1].key), "this is open to everyone");
    }
}
