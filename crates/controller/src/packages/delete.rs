//! `DELETE /packages/NAME`.

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use http::StatusCode;
use whisker_api::package_view;
use whisker_entity::{EntityPath, Package, QualifiedName};
use whisker_store::{Collection, Document, Error, Page};

use crate::{
    controller::{Call, Controller},
    found::find,
    rejection::Rejection,
    reply::Reply,
};

/// Actions that go in one step of emptying a package.
const STEP: Page = Page { skip: 0, limit: 200 };
/// Of these, how many at the same time.
const AT_ONCE: usize = 16;

/// Deletes a package that is empty, or with `?force=true` whatever is in it
/// too, and shows what it was. Bindings to it are left alone.
pub async fn delete(controller: &Controller, call: &Call<'_>, name: &QualifiedName) -> Result<Reply, Rejection> {
    let force = call.query.boolean("force", false)?;
    let found = find::<Package>(controller, name).await?;
    if found.binding.is_none() {
        let path = found.path();
        let count = controller.documents.entities().count(Collection::Actions, &path).await?;
        match (count, force) {
            (0, _) => {}
            (_, true) => empty(controller, &path).await?,
            (count, false) => return Err(Rejection::NotEmpty(count)),
        }
    }
    controller.documents.delete(name, found.revision()).await?;
    Ok(Reply::json(StatusCode::OK, &package_view(&found)))
}

/// Deletes what is in a package. An action that is written meanwhile ends it
/// with a conflict; what went before is gone, and the next attempt goes on.
async fn empty(controller: &Controller, path: &EntityPath) -> Result<(), Rejection> {
    loop {
        let contents = controller.documents.entities().list(Collection::Actions, path, STEP).await?;
        if contents.is_empty() {
            return Ok(());
        }
        // Boxed for the compiler, which cannot see that what closures borrow may be sent.
        let each: Vec<BoxFuture<'_, Result<(), Error>>> =
            contents.iter().map(|document| delete_one(controller, document).boxed()).collect();
        stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
}

async fn delete_one(controller: &Controller, document: &Document) -> Result<(), Error> {
    let name = document.qualified_name();
    let gone = match controller.documents.get(&name).await {
        Ok(stored) => controller.documents.delete(&name, &stored.revision).await,
        Err(error) => Err(error),
    };
    match gone {
        // Somebody else was quicker.
        Ok(()) | Err(Error::Missing) => Ok(()),
        Err(error) => Err(error),
    }
}
