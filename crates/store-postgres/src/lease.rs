//! A connection, for the length of one operation.

use deadpool_postgres::Object;
use tokio_postgres::{
    Row, RowStream,
    types::{BorrowToSql, ToSql},
};
use whisker_store::Error;

use crate::error::database;

/// Values of a statement.
pub(crate) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection out of the pool. It goes back when the operation was seen
/// through, with [`done`](Self::done) or [`end`](Self::end). One that was
/// broken off (its caller left, its time ran out, the database refused) is in
/// the middle of something: it is closed, and what it began with it.
pub(crate) struct Lease(Option<Object>);

impl Lease {
    pub(crate) fn new(connection: Object) -> Self {
        Self(Some(connection))
    }

    fn connection(&self) -> &Object {
        self.0.as_ref().expect("there until it is done")
    }

    /// All rows.
    pub(crate) async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.connection().prepare_cached(sql).await.map_err(database)?;
        self.connection().query(&statement, values).await.map_err(database)
    }

    /// The only row, if there is one.
    pub(crate) async fn find(&self, sql: &str, values: Values<'_>) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// Rows as they come, for what may be too much at once.
    pub(crate) async fn stream(&self, sql: &str, values: Values<'_>) -> Result<RowStream, Error> {
        let statement = self.connection().prepare_cached(sql).await.map_err(database)?;
        let values = values.iter().map(|value| (*value).borrow_to_sql());
        self.connection().query_raw(&statement, values).await.map_err(database)
    }

    /// How many rows it touched.
    pub(crate) async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Error> {
        let statement = self.connection().prepare_cached(sql).await.map_err(database)?;
        self.connection().execute(&statement, values).await.map_err(database)
    }

    /// Statements without values, which nothing is kept of.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.connection().batch_execute(sql).await
    }

    /// The operation was seen through, and no transaction is open.
    pub(crate) fn done(mut self) {
        drop(self.0.take());
    }

    /// Ends a transaction: what was refused leaves nothing behind.
    pub(crate) async fn end<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        let how = match &outcome {
            Ok(_) => "COMMIT",
            Err(Error::Missing | Error::Stale) => "ROLLBACK",
            Err(_) => return outcome,
        };
        self.batch(how).await.map_err(database)?;
        self.done();
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
