//! `GET /actions/PACKAGE/`.

use whisker_entity::{EntityName, QualifiedName};
use whisker_store::Collection;

use crate::{
    controller::{Call, Controller},
    entitle, list,
    rejection::Rejection,
    reply::Reply,
    resolve::Provider,
    route::Space,
};

/// Lists the actions of a package; of a binding those of the package behind it.
pub(crate) async fn list_package(
    controller: &Controller,
    call: &Call<'_>,
    space: &Space,
    package: EntityName,
) -> Result<Reply, Rejection> {
    let name = QualifiedName::new(space.resolve(&call.who.namespace), package);
    entitle::package(controller, &call.who, &name).await?;
    let provider = Provider::of(controller, &name).await?;
    list::list(controller, call, Collection::Actions, &provider.package.path()).await
}
