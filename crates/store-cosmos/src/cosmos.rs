//! Opening.

use std::sync::Arc;

use tokio::sync::Mutex;
use whisker_documents::{code::Places, keys::Keys};

use crate::{
    Config, OpenError,
    client::Client,
    container::{Container, ensure_database},
    feed::Feed,
};

/// Seconds that a deleted document stays to be heard of.
const DELETED_S: u32 = 10 * 60 * 60;

/// The store in a Cosmos DB: all three traits.
pub struct Cosmos {
    pub(crate) whisks: Arc<Container>,
    pub(crate) activations: Arc<Container>,
    pub(crate) subjects: Arc<Container>,
    pub(crate) pieces: Arc<Container>,
    pub(crate) places: Places,
    pub(crate) keys: Keys,
    /// Held while a subject is written, so that of this process's claims to a
    /// namespace one wins.
    pub(crate) claiming: Mutex<()>,
    pub(crate) whisks_feed: Feed,
    pub(crate) subjects_feed: Feed,
}

impl Cosmos {
    /// Opens the containers, and makes what is missing of them and of their
    /// database.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let keys = Keys::new(config.users, &config.seals)?;
        let client = Arc::new(Client::new(config)?);
        let container = |name: &str| Arc::new(Container::new(client.clone(), &config.database, name));
        let names = &config.containers;
        let whisks = container(&names.whisks);
        let activations = container(&names.activations);
        let subjects = container(&names.subjects);
        let pieces = container(&names.code);
        ensure_database(&client, &config.database).await?;
        subjects.ensure(&["/subject/?", "/namespaces/[]/name/?", "/namespaces/[]/uuid/?"]).await?;
        whisks.ensure(&["/entityType/?", "/namespace/?", "/_c/rootns/?", "/updated/?"]).await?;
        activations.ensure(&["/namespace/?", "/_c/nspath/?", "/start/?", "/_deleted/?"]).await?;
        pieces.ensure(&[]).await?;
        Ok(Self {
            places: Places::new(),
            keys,
            claiming: Mutex::new(()),
            whisks_feed: Feed::new(whisks.clone(), true),
            subjects_feed: Feed::new(subjects.clone(), false),
            whisks,
            activations,
            subjects,
            pieces,
        })
    }
}

/// What takes the place of a deleted document.
pub(crate) fn tombstone(id: &str) -> String {
    serde_json::json!({"id": id, "_deleted": true, "ttl": DELETED_S}).to_string()
}

impl std::fmt::Debug for Cosmos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cosmos").finish_non_exhaustive()
    }
}
