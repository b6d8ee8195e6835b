//! `PUT /packages/NAME`: create or update a package or a binding.

use http::StatusCode;
use serde_json::json;
use whisker_api::{PackagePut, messages, package_view};
use whisker_entity::{Binding, Millis, Package, Parameters, QualifiedName, Version};
use whisker_store::Document;

use crate::{
    body::Kind,
    controller::{Call, Controller},
    entitle, environment,
    found::{find, find_if_any},
    rejection::Rejection,
    reply::Reply,
};

/// Means "no package" in the paths of web actions.
const RESERVED: &str = "default";
/// The annotation that tells of a binding, for clients that only see lists.
const BINDING: &str = "binding";

/// Creates a package or a binding, or updates it with `?overwrite=true`.
pub async fn put(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let overwrite = call.query.boolean("overwrite", false)?;
    if name.name.as_str() == RESERVED {
        return Err(Rejection::Bad(messages::reserved_package(RESERVED)));
    }
    let who = call.who.clone();
    let body = call.read(controller, Kind::Entity).await?;
    let max_bytes = controller.config.limits.allowance(&who.limits).parameters_bytes;
    let put = PackagePut::parse(&body.bytes, &name.path.namespace, max_bytes)?;
    if let Some(Binding(bound)) = &put.binding {
        entitle::package(controller, &who, bound).await.map_err(told_of_bound)?;
    }
    let found = find_if_any::<Package>(controller, &name).await?;
    match &found {
        Some(_) if !overwrite => return Err(Rejection::Conflict(messages::EXISTS)),
        Some(package) if package.binding.is_none() && put.binding.is_some() => {
            return Err(Rejection::Conflict(messages::PACKAGE_STAYS_PACKAGE));
        }
        Some(_) | None => {}
    }
    if let Some(bound) = &put.binding {
        check_bound(controller, bound).await?;
    }
    let now = controller.documents.stamp(environment::now());
    let mut package = match &found {
        Some(found) => update(Package::clone(found), put, now),
        None => create(name, put, now),
    };
    package.parameters = controller.locked(package.parameters)?;
    let view = package_view(&package);
    controller.documents.put(&Document::Package(package), found.as_ref().map(|f| f.revision())).await?;
    Ok(Reply::json(StatusCode::OK, &view))
}

/// What a binding stands for must be a package that has actions of its own.
async fn check_bound(controller: &Controller, Binding(bound): &Binding) -> Result<(), Rejection> {
    match find::<Package>(controller, bound).await.map_err(told_of_bound)?.binding {
        None => Ok(()),
        Some(_) => Err(Rejection::Bad(messages::BOUND_IS_BINDING.into())),
    }
}

/// A refusal of what a binding stands for, in the words for the binding.
fn told_of_bound(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Missing => Rejection::Bad(messages::BOUND_MISSING.into()),
        Rejection::Conflict(_) => Rejection::Conflict(messages::BOUND_IS_NO_PACKAGE),
        other => other,
    }
}

fn create(name: QualifiedName, put: PackagePut, now: Millis) -> Package {
    Package {
        namespace: name.path,
        name: name.name,
        annotations: with_binding(put.annotations.unwrap_or_default(), put.binding.as_ref()),
        binding: put.binding,
        parameters: put.parameters.unwrap_or_default(),
        version: put.version.unwrap_or(Version::FIRST),
        publish: put.publish.unwrap_or(false),
        updated: now,
    }
}

/// What the body names is replaced as a whole, the rest stays; a binding stays
/// one.
fn update(package: Package, put: PackagePut, now: Millis) -> Package {
    let binding = put.binding.or(package.binding);
    Package {
        annotations: with_binding(put.annotations.unwrap_or(package.annotations), binding.as_ref()),
        binding,
        parameters: put.parameters.unwrap_or(package.parameters),
        version: put.version.unwrap_or_else(|| package.version.next()),
        publish: put.publish.unwrap_or(package.publish),
        // Lists are ordered by this, so time does not run backwards in it.
        updated: now.max(package.updated + 1),
        namespace: package.namespace,
        name: package.name,
    }
}

/// Annotations that say what the package stands for, whatever the client says.
fn with_binding(mut annotations: Parameters, binding: Option<&Binding>) -> Parameters {
    annotations.remove(BINDING);
    if let Some(binding) = binding {
        annotations.set_value(BINDING, json!(binding));
    }
    annotations
}
