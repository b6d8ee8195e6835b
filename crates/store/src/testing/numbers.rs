//! What every [`Entities`] does with numbers that a double cannot hold, unless
//! its database has no others.

use std::sync::Arc;

use serde_json::json;

use super::samples::{action, parse};
use crate::{Document, Entities};

/// In parameters, where users' own ids may be.
pub async fn whole_numbers_keep_their_digits(store: Arc<dyn Entities>) {
    let mut document = action("ns/a", "", 1);
    document.parameters.set_value("numbers", json!([u64::MAX, i64::MIN, (1_u64 << 53) + 1]));
    let document = Document::Action(document);
    store.put(&document, None).await.unwrap();
    assert_eq!(store.get(&parse("ns/a")).await.unwrap().document, document.detach().0);
}
