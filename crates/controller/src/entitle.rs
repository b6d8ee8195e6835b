//! Who may do what with whose entities.
//!
//! Everybody owns one namespace and may do all in it. Of other namespaces one
//! may read, and invoke, what is in a published package; nothing more. A
//! binding is its owner's alone, and only as good as the package behind it is
//! to that owner.
//!
//! What others keep private, or do not have, is one answer (403), so that
//! nobody learns which names exist elsewhere; within one's own namespace what
//! is missing is missing (404).

use whisker_api::messages;
use whisker_entity::{Binding, Identity, Package, QualifiedName};

use crate::{controller::Controller, found::find, rejection::Rejection};

/// Most bindings that are followed from one package to the next. OpenWhisk
/// makes none to another binding, but a package can be replaced by one.
pub const MAX_HOPS: usize = 8;

/// Whether this is the owner of an entity: who may write it, and fire, list or
/// switch it.
pub fn owner(who: &Identity, name: &QualifiedName) -> Result<(), Rejection> {
    if name.path.namespace == who.namespace { Ok(()) } else { Err(forbidden(name)) }
}

/// Whether one may read an action, or invoke it: both come with reading its
/// package.
pub async fn action(controller: &Controller, who: &Identity, name: &QualifiedName) -> Result<(), Rejection> {
    match name.package() {
        Some(of) => package(controller, who, &of).await,
        None => owner(who, name),
    }
}

/// Whether one may read a package or a binding, and with it what is in it.
pub async fn package(controller: &Controller, who: &Identity, name: &QualifiedName) -> Result<(), Rejection> {
    let mut at = name.clone();
    for _ in 0..=MAX_HOPS {
        let owns = at.path.namespace == who.namespace;
        let found = match find::<Package>(controller, &at).await {
            Ok(found) => found,
            Err(rejection @ Rejection::Unavailable(_)) => return Err(rejection),
            Err(rejection) if owns => return Err(rejection),
            Err(_) => return Err(forbidden(name)),
        };
        match &found.binding {
            None if owns || found.publish => return Ok(()),
            Some(Binding(bound)) if owns => at = bound.clone(),
            None | Some(_) => return Err(forbidden(name)),
        }
    }
    Err(Rejection::Unprocessable(messages::circular_binding(name)))
}

/// Whether one may read, or invoke, what an entity is made of: a rule's trigger
/// and action, a sequence's components. All that one may not is told at once,
/// in alphabetical order; a package is told by itself, as soon as it is met.
pub async fn parts<'a>(
    controller: &Controller,
    who: &Identity,
    trigger: Option<&QualifiedName>,
    actions: impl IntoIterator<Item = &'a QualifiedName>,
) -> Result<(), Rejection> {
    let mut refused = Vec::new();
    let mut own = |name: &QualifiedName| {
        if owner(who, name).is_err() {
            refused.push(name.to_string());
        }
    };
    trigger.into_iter().for_each(&mut own);
    for name in actions {
        match name.package() {
            Some(of) => package(controller, who, &of).await?,
            None => own(name),
        }
    }
    refused.sort_unstable();
    refused.dedup();
    if refused.is_empty() { Ok(()) } else { Err(Rejection::Forbidden(messages::not_authorized(refused.join(", ")))) }
}

/// The refusal of one resource.
pub fn forbidden(name: &QualifiedName) -> Rejection {
    Rejection::Forbidden(messages::not_authorized(name))
}
