//! Opening, and the bounds on every wait.

use std::{pin::pin, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use whisker_secrets::Seals;
use whisker_store::Error;

use crate::{
    Config, OpenError,
    changes::News,
    error::{Cause, database, unavailable},
    lease::Lease,
    partitions::Partitions,
    pulse::Pulse,
    schema, tls,
};

/// How often it is asked whether the database is there, once patience is over.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the longest operation may take while the database is there.
const LONGEST: Duration = Duration::from_secs(60);
/// How long an operation waits for one of the pool's connections.
const TURN: Duration = Duration::from_secs(10);
/// How long a start waits for the database.
const START: Duration = Duration::from_secs(10);
/// How long what was sent may stay unacknowledged, and an idle connection
/// unprobed, before the network is taken to be cut.
const NETWORK: Duration = Duration::from_secs(15);

/// What every connection begins with: the database's own ends for whatever
/// this process no longer waits for; and no bitmaps, since whatever is read
/// here has an index in its order. A table that was filled within a minute has
/// no statistics, and without them the planner expects a handful of records,
/// and reads and sorts a million for a list of thirty.
const SESSION: &str = "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s';
    SET client_min_messages = warning; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;
    SET enable_bitmapscan = off";

/// The store in a database: all three traits.
///
/// It has a task that listens; dropping it ends that and closes the
/// connections.
pub struct Postgres {
    pool: Pool,
    pulse: Pulse,
    patience: Duration,
    pub(crate) seals: Seals,
    pub(crate) news: News,
    pub(crate) partitions: Partitions,
    listening: JoinHandle<()>,
}

impl Postgres {
    /// Connects, and brings the tables to the present. Waits for other servers
    /// that do the same, and some seconds for a database that does not answer.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let mut driver = config.database.clone();
        driver.connect_timeout(driver.get_connect_timeout().copied().unwrap_or(START).min(START));
        driver.keepalives(true).keepalives_idle(NETWORK).keepalives_interval(NETWORK / 3).tcp_user_timeout(NETWORK);
        let connector = tls::connector(&config.trust)?;
        let refused = |source: Cause| OpenError::Connect { place: config.place(), source };

        let first = timeout(START, driver.connect(connector.clone())).await;
        let (mut client, connection) = match first {
            Ok(connected) => connected.map_err(|error| refused(error.into()))?,
            Err(_) => return Err(refused(Cause::other("it does not answer"))),
        };
        let driving = tokio::spawn(connection);
        let migrated = schema::migrate(&mut client).await;
        drop(client);
        let _ = driving.await;
        migrated?;

        let manager = Manager::from_config(
            driver.clone(),
            connector.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let begin = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(config.connections.max(1))
            .wait_timeout(Some(TURN))
            .create_timeout(Some(TURN))
            .recycle_timeout(Some(TURN))
            .runtime(Runtime::Tokio1)
            .post_create(begin)
            .build()
            .map_err(|error| refused(Cause::other(error)))?;
        let news = News::new();
        let (pulse, listening) = Pulse::start(driver, connector, news.clone());
        Ok(Self {
            pool,
            pulse,
            patience: config.patience,
            seals: config.seals.clone(),
            news,
            partitions: Partitions::default(),
            listening,
        })
    }

    /// A connection.
    pub(crate) async fn lease(&self) -> Result<Lease, Error> {
        let connection: Object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => database(error),
            PoolError::Timeout(_) => {
                unavailable(Cause::other("no connection was free, or none could be made, in time"))
            }
            other => unavailable(Cause::other(other)),
        })?;
        Ok(Lease::new(connection))
    }

    /// A connection in a transaction, to be [ended](Lease::end).
    pub(crate) async fn begin(&self) -> Result<Lease, Error> {
        let lease = self.lease().await?;
        lease.batch("BEGIN").await.map_err(database)?;
        Ok(lease)
    }

    /// Waits for something that the database does: as long as that takes, up
    /// to a minute, while the database is there; not a second while it is not.
    pub(crate) async fn answered<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (mut work, began) = (pin!(work), Instant::now());
        let mut patience = self.patience;
        loop {
            match timeout(patience, &mut work).await {
                Ok(done) => return done,
                Err(_) if self.pulse.beats() && began.elapsed() < LONGEST => patience = AGAIN,
                Err(_) => return Err(unavailable(Cause::other("no answer came from the database"))),
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.listening.abort();
        self.pool.close();
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}
