//! Whose turn it is to get the next container.
//!
//! Namespaces take turns, and within each its actions do: with a plain queue,
//! a namespace that fires a thousand actions at once would keep all others
//! waiting until it is served. Every operation touches the ends of a queue
//! only, however many stand in line.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use whisker_entity::EntityName;

use crate::Key;

/// Actions that wait for a container, each at most once (its owner knows).
#[derive(Debug, Default)]
pub(crate) struct Claims {
    turns: VecDeque<EntityName>,
    actions: HashMap<EntityName, VecDeque<Arc<Key>>>,
}

impl Claims {
    /// Joins the line.
    pub fn push(&mut self, key: Arc<Key>) {
        let actions = self.actions.entry(key.namespace.clone()).or_default();
        if actions.is_empty() {
            self.turns.push_back(key.namespace.clone());
        }
        actions.push_back(key);
    }

    /// Whose turn it is.
    pub fn first(&self) -> Option<&Arc<Key>> {
        self.actions.get(self.turns.front()?)?.front()
    }

    /// Whose turn it is, and who come after as long as nobody joins or leaves:
    /// so many at most.
    pub fn next(&self, count: usize) -> impl Iterator<Item = &Arc<Key>> {
        // Each namespace in line has an action there, so that no round is idle
        // before all are told.
        let of_round = move |round: usize| self.turns.iter().filter_map(move |name| self.actions.get(name)?.get(round));
        (0..count).flat_map(of_round).take(count)
    }

    /// Takes whose turn it was out of the line.
    pub fn pop(&mut self) -> Option<Arc<Key>> {
        let namespace = self.turns.pop_front()?;
        let actions = self.actions.get_mut(&namespace)?;
        let key = actions.pop_front();
        if actions.is_empty() {
            self.actions.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        key
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_turns_and_so_do_their_actions() {
        let key = |namespace: &str, action: &str| {
            Arc::new(Key {
                namespace: namespace.parse().expect("a name"),
                action: format!("{namespace}/{action}").parse().expect("a name"),
                revision: "1".into(),
                environment: 0,
            })
        };
        let mut claims = Claims::default();
        for (namespace, action) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("c", "1")] {
            claims.push(key(namespace, action));
        }
        let expected: Vec<String> = claims.next(10).map(|key| key.action.to_string()).collect();
        let mut served = vec![];
        while let Some(key) = claims.pop() {
            served.push(key.action.to_string());
        }
        assert_eq!(served, ["a/1", "b/1", "c/1", "a/2", "b/2", "a/3"]);
        assert_eq!(served, expected);
        assert!(claims.is_empty() && claims.first().is_none() && claims.actions.is_empty());
    }
}
