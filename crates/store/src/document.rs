//! Documents: entities as one type, with their revision.

use std::{fmt, sync::Arc};

use serde::Serialize;
use whisker_entity::{Action, CodeHash, EntityPath, Exec, ExecCode, Millis, Package, QualifiedName, Rule, Trigger};

/// An entity of any kind. Names are unique across kinds: an action and a
/// trigger of one name cannot both be in a namespace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Document {
    /// An action; its code is attached when it comes from a store.
    Action(Action),
    /// A package or a binding.
    Package(Package),
    /// A trigger.
    Trigger(Trigger),
    /// A rule.
    Rule(Rule),
}

impl Document {
    /// The document's id.
    pub fn qualified_name(&self) -> QualifiedName {
        let (path, name) = match self {
            Document::Action(a) => (&a.namespace, &a.name),
            Document::Package(p) => (&p.namespace, &p.name),
            Document::Trigger(t) => (&t.namespace, &t.name),
            Document::Rule(r) => (&r.namespace, &r.name),
        };
        QualifiedName::new(EntityPath::clone(path), name.clone())
    }

    /// When it was last written: what lists are ordered by.
    pub fn updated(&self) -> Millis {
        match self {
            Document::Action(a) => a.updated,
            Document::Package(p) => p.updated,
            Document::Trigger(t) => t.updated,
            Document::Rule(r) => r.updated,
        }
    }

    /// The list it belongs to.
    pub fn collection(&self) -> Collection {
        match self {
            Document::Action(_) => Collection::Actions,
            Document::Package(_) => Collection::Packages,
            Document::Trigger(_) => Collection::Triggers,
            Document::Rule(_) => Collection::Rules,
        }
    }
}

impl Document {
    /// Every list that it appears in: the rule that backends share.
    pub fn lists(&self) -> Vec<(Collection, EntityPath)> {
        let path = self.qualified_name().path;
        match self {
            Document::Action(_) => match path.package {
                Some(_) => {
                    vec![(Collection::Actions, EntityPath::root(path.namespace.clone())), (Collection::Actions, path)]
                }
                None => vec![(Collection::Actions, path)],
            },
            Document::Package(package) if package.publish && package.binding.is_none() => {
                vec![(Collection::Packages, path.clone()), (Collection::PublicPackages, path)]
            }
            Document::Package(_) => vec![(Collection::Packages, path)],
            Document::Trigger(_) => vec![(Collection::Triggers, path)],
            Document::Rule(_) => vec![(Collection::Rules, path)],
        }
    }

    /// What the action executes, where this is an action.
    pub fn exec(&self) -> Option<&Exec> {
        match self {
            Document::Action(action) => Some(&action.exec),
            Document::Package(_) | Document::Trigger(_) | Document::Rule(_) => None,
        }
    }

    /// The document with its inline code attached, and that code's text; with
    /// no text where there was none inline.
    pub fn detach(&self) -> (Document, Option<(CodeHash, Arc<str>)>) {
        let mut document = self.clone();
        let Document::Action(action) = &mut document else { return (document, None) };
        let Some(code) = action.exec.code_mut() else { return (document, None) };
        let (hash, length) = (code.hash(), code.length());
        let attached = ExecCode::Attached { hash, length };
        match std::mem::replace(code, attached) {
            ExecCode::Inline(text) => (document, Some((hash, text))),
            ExecCode::Attached { .. } => (document, None),
        }
    }
}

/// What can be listed. The names are those of URLs and of OpenWhisk's views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collection {
    /// Actions; a namespace's list includes those in its packages.
    Actions,
    /// Packages and bindings.
    Packages,
    /// Packages that are published and no bindings: what others may see.
    PublicPackages,
    /// Triggers.
    Triggers,
    /// Rules.
    Rules,
}

impl Collection {
    /// As in URLs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Collection::Actions => "actions",
            Collection::Packages | Collection::PublicPackages => "packages",
            Collection::Triggers => "triggers",
            Collection::Rules => "rules",
        }
    }
}

/// One state of a document, opaque. No two states of one name share a
/// revision, not even across deletion and re-creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(pub Arc<str>);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document as a store gave it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The entity.
    pub document: Document,
    /// The state this is.
    pub revision: Revision,
}
