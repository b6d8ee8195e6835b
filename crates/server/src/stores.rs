//! The store that was chosen: the only place that knows which there are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use whisker_secrets::{Seals, Secrets};
use whisker_store::{Activations, Entities, Subjects};
use whisker_store_cosmos::Cosmos;
use whisker_store_couchdb::CouchDb;
use whisker_store_embedded::{Embedded, OpenError};
use whisker_store_postgres::Postgres;

/// How long a start waits for the locks of a server that was just killed, and
/// how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How long a database may be silent to who reads all of it: it may have to
/// compute a view of everything first.
const WHOLE_PATIENCE: Duration = Duration::from_secs(60);

/// Where things are kept.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file of this machine, which is one server's at a time.
    Embedded(whisker_store_embedded::Config),
    /// In a PostgreSQL database.
    Postgres(whisker_store_postgres::Config),
    /// In a CouchDB.
    CouchDb(whisker_store_couchdb::Config),
    /// In a Cosmos DB.
    Cosmos(whisker_store_cosmos::Config),
}

/// An open store, as its users see it.
#[derive(Clone)]
pub struct Stores {
    /// Actions and the like.
    pub entities: Arc<dyn Entities>,
    /// Records.
    pub activations: Arc<dyn Activations>,
    /// Who may ask.
    pub subjects: Arc<dyn Subjects>,
}

impl Place {
    /// With users' keys sealed. In a CouchDB or a Cosmos DB they stay as
    /// OpenWhisk reads them, unless the URL says `users=sealed`.
    #[must_use]
    pub fn sealed_with(mut self, seals: &Seals) -> Self {
        match &mut self {
            Place::Embedded(config) => config.seals = seals.clone(),
            Place::Postgres(config) => config.seals = seals.clone(),
            Place::CouchDb(config) => config.seals = seals.clone(),
            Place::Cosmos(config) => config.seals = seals.clone(),
        }
        self
    }

    /// For who reads or writes all of it, and would rather wait than begin again:
    /// a database is away only when it is silent for a minute, or for longer
    /// where its URL says so.
    #[must_use]
    pub fn patient(mut self) -> Self {
        let patience = match &mut self {
            Place::Embedded(_) => return self,
            Place::Postgres(config) => &mut config.patience,
            Place::CouchDb(config) => &mut config.patience,
            Place::Cosmos(config) => &mut config.patience,
        };
        *patience = WHOLE_PATIENCE.max(*patience);
        self
    }

    /// Refused, if so said, where a CouchDB lacks a database: a server makes an
    /// empty one, under a name that is perhaps misspelt.
    #[must_use]
    pub fn only_what_is_there(mut self, only: bool) -> Self {
        if let Place::CouchDb(config) = &mut self {
            config.makes_databases = !only;
        }
        self
    }

    /// The folder, where it is one of this machine.
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Place::Embedded(config) => Some(&config.data_dir),
            Place::Postgres(_) | Place::CouchDb(_) | Place::Cosmos(_) => None,
        }
    }

    /// What people call it; without passwords.
    pub fn shown(&self) -> String {
        match self {
            Place::Embedded(config) => config.data_dir.display().to_string(),
            Place::Postgres(config) => format!("PostgreSQL at {}", config.place()),
            Place::CouchDb(config) => format!("CouchDB at {}", config.place()),
            Place::Cosmos(config) => format!("Cosmos DB at {}", config.place()),
        }
    }

    /// Opens it, and makes its tables if it has none. A file that another
    /// server has is refused; [`is_in_use`] tells.
    pub async fn open(&self) -> anyhow::Result<Stores> {
        match self {
            Place::Embedded(config) => Embedded::open(config).map(Stores::of).context("cannot open the store"),
            Place::Postgres(config) => Postgres::open(config).await.map(Stores::of).context("cannot open the store"),
            Place::CouchDb(config) => CouchDb::open(config).await.map(Stores::of).context("cannot open the store"),
            Place::Cosmos(config) => Cosmos::open(config).await.map(Stores::of).context("cannot open the store"),
        }
    }

    /// Opens it for a server.
    ///
    /// One that was killed a moment ago may have left a child between its
    /// clone and its exec, which holds that server's locks until then: a
    /// supervisor that starts the next one at once should not see it refused.
    pub async fn open_patiently(&self) -> anyhow::Result<Stores> {
        let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
        loop {
            match self.open().await {
                Err(error) if is_in_use(&error) && tokio::time::Instant::now() < patience => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }
}

/// Whether a store was not opened because another server has it.
pub fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OpenError::InUse { .. }))
}

impl Stores {
    /// What of it administrators change.
    pub fn administered(&self, secrets: &Arc<Secrets>) -> whisker_admin::Parts {
        whisker_admin::Parts {
            subjects: self.subjects.clone(),
            entities: self.entities.clone(),
            secrets: secrets.clone(),
        }
    }

    fn of<S: Entities + Activations + Subjects>(store: S) -> Self {
        let store = Arc::new(store);
        Self { entities: store.clone(), activations: store.clone(), subjects: store }
    }
}
