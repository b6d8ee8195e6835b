//! `GET /packages/NAME`.

use http::StatusCode;
use whisker_api::{messages, package_contents_view};
use whisker_entity::{Action, Package, QualifiedName};
use whisker_store::{Collection, Page};

use crate::{
    controller::{Call, Controller},
    entitle,
    found::Kind,
    rejection::Rejection,
    reply::Reply,
    resolve::Provider,
};

/// All that is in a package is shown at once, as clients expect it.
const EVERYTHING: Page = Page { skip: 0, limit: 1_000_000 };

/// Shows a package with what is in it. A binding keeps its own name, and shows
/// its parameters over those of the package behind it, and what is in that.
pub async fn get(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<Reply, Rejection> {
    entitle::package(controller, &call.who, name).await.map_err(|rejection| match rejection {
        // Whether it is the binding or what it stands for that is missing.
        Rejection::Missing => Rejection::MissingNamed(name.clone()),
        other => other,
    })?;
    let provider = Provider::of(controller, name).await?;
    if controller.config.limits.shared_packages_execute_only {
        if name.path.namespace != call.who.namespace {
            return Err(Rejection::Forbidden(messages::package_execute_only(name)));
        }
        if provider.package.path().namespace != name.path.namespace {
            return Err(Rejection::Forbidden(messages::binding_execute_only(&name.name)));
        }
    }
    let contents =
        controller.documents.entities().list(Collection::Actions, &provider.package.path(), EVERYTHING).await?;
    let named = provider.bindings.first().unwrap_or(&provider.package);
    let shown = Package { parameters: provider.parameters(), ..Package::clone(named) };
    let view = package_contents_view(&shown, contents.iter().filter_map(Action::of));
    Ok(Reply::json(StatusCode::OK, &view))
}
