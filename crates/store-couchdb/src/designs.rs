//! OpenWhisk's design documents: names, keys and values of its views, so that
//! a database of either opens with the other. The functions are ours.

use serde_json::{Map, Value, json};

/// Lists of entities, by path and time.
pub(crate) const ACTIONS: &str = "whisks.v2.1.0/actions";
pub(crate) const PACKAGES: &str = "whisks.v2.1.0/packages";
pub(crate) const PUBLIC_PACKAGES: &str = "whisks.v2.1.0/packages-public";
pub(crate) const TRIGGERS: &str = "whisks.v2.1.0/triggers";
pub(crate) const RULES: &str = "whisks.v2.1.0/rules";
/// Records, by namespace and time; by name and time; by time.
pub(crate) const ACTIVATIONS: &str = "whisks.v2.1.0/activations";
pub(crate) const ACTIVATIONS_BY_NAME: &str = "whisks-filters.v2.1.1/activations";
pub(crate) const BY_DATE: &str = "activations/byDate";
/// Namespaces of subjects that are not blocked, by name, and by uuid and key.
pub(crate) const IDENTITIES: &str = "subjects.v2.0.0/identities";
/// Namespaces that cannot invoke.
pub(crate) const BLOCKED: &str = "namespaceThrottlings/blockedNamespaces";

/// A design document.
pub(crate) struct Design {
    pub name: &'static str,
    /// Name, function and reduction of each.
    views: &'static [(&'static str, &'static str, Option<&'static str>)],
    filter: Option<(&'static str, &'static str)>,
}

impl Design {
    /// The document, but for its id.
    pub fn document(&self) -> Value {
        let mut document = json!({"language": "javascript"});
        let mut views = Map::new();
        for (name, map, reduce) in self.views {
            let mut view = json!({"map": map.trim()});
            if let Some(reduce) = reduce {
                view["reduce"] = json!(reduce);
            }
            views.insert((*name).into(), view);
        }
        if !views.is_empty() {
            document["views"] = views.into();
        }
        if let Some((name, filter)) = self.filter {
            document["filters"] = json!({name: filter.trim()});
        }
        document
    }
}

const fn views(name: &'static str, views: &'static [(&'static str, &'static str, Option<&'static str>)]) -> Design {
    Design { name, views, filter: None }
}

/// For copies of a database without what was deleted.
const SNAPSHOTS: Design = Design {
    name: "snapshotFilters",
    views: &[],
    filter: Some(("withoutDeletedAndDesignDocuments", include_str!("designs/without-deleted-and-designs.js"))),
};

/// Of the entities' database.
pub(crate) const WHISKS: &[Design] = &[
    views(
        "whisks.v2.1.0",
        &[
            ("actions", include_str!("designs/actions.js"), Some("_count")),
            ("packages", include_str!("designs/packages.js"), Some("_count")),
            ("packages-public", include_str!("designs/packages-public.js"), Some("_count")),
            ("rules", include_str!("designs/rules.js"), Some("_count")),
            ("triggers", include_str!("designs/triggers.js"), Some("_count")),
        ],
    ),
    SNAPSHOTS,
];

/// Of the records' database.
pub(crate) const RECORDS: &[Design] = &[
    views("whisks.v2.1.0", &[("activations", include_str!("designs/activations.js"), Some("_count"))]),
    views("whisks-filters.v2.1.1", &[("activations", include_str!("designs/activations-by-name.js"), Some("_count"))]),
    views("activations", &[("byDate", include_str!("designs/by-date.js"), None)]),
    views("logCleanup", &[("byDateWithLogs", include_str!("designs/by-date-with-logs.js"), None)]),
    SNAPSHOTS,
];

/// Of the subjects' database.
pub(crate) const SUBJECTS: &[Design] = &[
    views("subjects.v2.0.0", &[("identities", include_str!("designs/identities.js"), None)]),
    views(
        "namespaceThrottlings",
        &[("blockedNamespaces", include_str!("designs/blocked-namespaces.js"), Some("_sum"))],
    ),
    SNAPSHOTS,
];
