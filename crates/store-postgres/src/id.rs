//! Ids of activations as the database's `uuid`: 16 bytes, compared as such.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use whisker_entity::ActivationId;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) ActivationId);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0.to_bytes());
        Ok(IsNull::No)
    }
    accepts!(UUID);
    to_sql_checked!();
}

impl FromSql<'_> for Id {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(ActivationId::from_bytes(raw.try_into()?)))
    }
    accepts!(UUID);
}
