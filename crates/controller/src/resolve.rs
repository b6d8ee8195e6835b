//! From a name to the action that runs: through bindings to the package that
//! has it, with the parameters that were collected on the way.
//!
//! Parameters merge package < binding < action; an invocation's own arguments
//! come on top of these. Nothing here asks who may: that is [`entitle`]'s, and
//! comes first.
//!
//! Documents come from the cache, and an action outside packages costs one
//! look into it: this is on the way of every invocation.
//!
//! [`entitle`]: crate::entitle

use whisker_api::{Payload, messages};
use whisker_entity::{Action, Binding, Identity, Package, Parameters, QualifiedName};

use crate::{
    controller::Controller,
    entitle::{self, MAX_HOPS},
    found::{Found, find},
    rejection::Rejection,
};

/// An action with everything that its path adds to it.
#[derive(Clone)]
pub struct Resolved {
    /// The action itself, as it is stored.
    pub action: Found<Action>,
    /// The binding through which it was named, if it was.
    pub binding: Option<QualifiedName>,
    /// Its parameters under those of package and binding; `None` where those
    /// have none to add.
    merged: Option<Parameters>,
}

impl Resolved {
    /// Default arguments: the action's own, over its binding's and package's.
    pub fn parameters(&self) -> &Parameters {
        self.merged.as_ref().unwrap_or(&self.action.parameters)
    }

    /// Refuses arguments that would change what a `final` action fixes: its
    /// parameters that have a value.
    pub fn check_final(&self, payload: &Payload) -> Result<(), Rejection> {
        if self.action.annotations.get("final") != Some(&serde_json::Value::Bool(true)) {
            return Ok(());
        }
        let fixed = |key: &str| self.parameters().get(key).is_some_and(|value| !value.is_null());
        if payload.names().any(fixed) {
            return Err(Rejection::Bad(messages::PARAMETERS_NOT_ALLOWED.into()));
        }
        Ok(())
    }
}

/// Finds the action that a name leads to.
pub async fn resolve(controller: &Controller, name: &QualifiedName) -> Result<Resolved, Rejection> {
    let Some(package) = name.package() else {
        return Ok(Resolved { action: find(controller, name).await?, binding: None, merged: None });
    };
    let provider = Provider::of(controller, &package).await?;
    let real = QualifiedName::new(provider.package.path(), name.name.clone());
    let action = find::<Action>(controller, &real).await?;
    let inherited = provider.parameters();
    let merged = if inherited.is_empty() { None } else { Some(inherited.merged(&action.parameters)) };
    let binding = (!provider.bindings.is_empty()).then_some(package);
    Ok(Resolved { action, binding, merged })
}

/// As [`resolve`], of a name that came from elsewhere than the request's path:
/// a rule's action, a component. Whoever asks must be entitled to it.
pub async fn resolve_for(controller: &Controller, who: &Identity, name: &QualifiedName) -> Result<Resolved, Rejection> {
    entitle::action(controller, who, name).await?;
    resolve(controller, name).await
}

/// A package, and the bindings through which it was named.
pub struct Provider {
    /// The package that has the actions.
    pub package: Found<Package>,
    /// The bindings followed, the one that was named first.
    pub bindings: Vec<Found<Package>>,
}

impl Provider {
    /// Finds the package that a name leads to.
    pub async fn of(controller: &Controller, name: &QualifiedName) -> Result<Self, Rejection> {
        let mut package = find::<Package>(controller, name).await?;
        let mut bindings = Vec::new();
        while let Some(Binding(bound)) = &package.binding {
            if bindings.len() == MAX_HOPS {
                return Err(Rejection::Unprocessable(messages::circular_binding(name)));
            }
            let next = find(controller, bound).await?;
            bindings.push(std::mem::replace(&mut package, next));
        }
        Ok(Self { package, bindings })
    }

    /// The package's parameters, those of each binding over them.
    pub fn parameters(&self) -> Parameters {
        let bindings = self.bindings.iter().rev().filter(|binding| !binding.parameters.is_empty());
        bindings.fold(self.package.parameters.clone(), |merged, binding| merged.merged(&binding.parameters))
    }
}
