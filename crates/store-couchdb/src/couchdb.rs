//! Opening.

use std::sync::Arc;

use tokio::sync::Mutex;
use whisker_documents::{code::Places, keys::Keys};

use crate::{Config, OpenError, client::Client, database::Database, designs, feed::Feed};

/// The store in a CouchDB: all three traits.
pub struct CouchDb {
    pub(crate) whisks: Database,
    pub(crate) activations: Database,
    pub(crate) subjects: Database,
    pub(crate) places: Places,
    pub(crate) keys: Keys,
    /// Held while a subject is written, so that of this process's claims to a
    /// namespace one wins.
    pub(crate) claiming: Mutex<()>,
    pub(crate) whisks_feed: Feed,
    pub(crate) subjects_feed: Feed,
}

impl CouchDb {
    /// Opens the databases, and makes what is missing of them and of their
    /// design documents.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let keys = Keys::new(config.users, &config.seals)?;
        let client = Arc::new(Client::new(config)?);
        let database = |name: &str| Database::new(client.clone(), name);
        let names = &config.databases;
        let whisks = database(&names.whisks);
        let activations = database(&names.activations);
        let subjects = database(&names.subjects);
        for (database, designs) in
            [(&subjects, designs::SUBJECTS), (&whisks, designs::WHISKS), (&activations, designs::RECORDS)]
        {
            database.ensure(designs, config.makes_databases).await?;
        }
        Ok(Self {
            places: Places::new(),
            keys,
            claiming: Mutex::new(()),
            whisks_feed: Feed::new(whisks.clone(), true),
            subjects_feed: Feed::new(subjects.clone(), false),
            whisks,
            activations,
            subjects,
        })
    }
}

impl std::fmt::Debug for CouchDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CouchDb").finish_non_exhaustive()
    }
}
