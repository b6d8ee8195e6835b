//! A transaction's id as OpenWhisk's messages have it.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use whisker_entity::{Millis, TransactionId};

/// `["<id>", start]`: which request, and when it began. OpenWhisk may append
/// `true`, for more logging, and the request that caused this one; both are
/// read over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transid {
    pub id: TransactionId,
    pub began: Millis,
}

impl Serialize for Transid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.id.as_str(), self.began).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Transid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Transid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of an id and a time")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Transid, A::Error> {
                let missing = |at| de::Error::invalid_length(at, &self);
                let id: std::borrow::Cow<'de, str> = seq.next_element()?.ok_or_else(|| missing(0))?;
                let began = seq.next_element()?.ok_or_else(|| missing(1))?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Transid { id: TransactionId::restore(&id), began })
            }
        }

        deserializer.deserialize_seq(Members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_openwhisk_appends_is_read_over() {
        let expected = Transid { id: TransactionId::restore("abc"), began: 1_700_000_000_000 };
        for text in [
            r#"["abc",1700000000000]"#,
            r#"["abc",1700000000000,true]"#,
            r#"["abc",1700000000000,["parent",1699999999999]]"#,
            r#"["abc",1700000000000,true,["parent",1699999999999]]"#,
        ] {
            assert_eq!(serde_json::from_str::<Transid>(text).unwrap(), expected, "{text}");
        }
        assert_eq!(serde_json::to_string(&expected).unwrap(), r#"["abc",1700000000000]"#);
    }

    #[test]
    fn less_is_refused() {
        for text in ["[]", r#"["abc"]"#, r#"[1,2]"#, r#""abc""#, "null"] {
            assert!(serde_json::from_str::<Transid>(text).is_err(), "{text}");
        }
    }
}
