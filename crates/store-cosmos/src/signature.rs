//! Signatures with an account's master key.
//!
//! Cosmos DB wants each request signed: HMAC-SHA256 over its method, the type
//! and the link of what it is about, and its date, which may be fifteen minutes
//! off.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use time::OffsetDateTime;

/// An account's key.
#[derive(Clone)]
pub struct Key(Vec<u8>);

// It is nobody's to read.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads a key as Azure shows it, which is base64.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok().filter(|key| !key.is_empty()).map(Self)
    }

    /// What `Authorization` says of a request.
    pub(crate) fn authorization(&self, method: &Method, kind: &str, link: &str, date: &str) -> String {
        let signed =
            format!("{}\n{kind}\n{link}\n{}\n\n", method.as_str().to_ascii_lowercase(), date.to_ascii_lowercase());
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        let text = format!("type=master&ver=1.0&sig={}", STANDARD.encode(mac.finalize().into_bytes()));
        utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
    }
}

/// A time as HTTP writes it (RFC 7231).
pub(crate) fn date(time: OffsetDateTime) -> String {
    let (weekday, month) = (time.weekday().to_string(), time.month().to_string());
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        &weekday[..3],
        time.day(),
        &month[..3],
        time.year(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The example of Microsoft's documentation.
    #[test]
    fn a_signature_is_that_of_the_documentation() {
        let key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
        let key = Key::parse(key).unwrap();
        let date = "Thu, 27 Apr 2017 00:51:12 GMT";
        let text = key.authorization(&Method::GET, "dbs", "dbs/ToDoList", date);
        let expected = "type=master&ver=1.0&sig=c09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu+c+c=";
        assert_eq!(percent_encoding::percent_decode_str(&text).decode_utf8().unwrap(), expected);
        assert!(!text.contains(['=', '&', '+', '/']), "{text}");
        assert_eq!(format!("{key:?}"), "Key");
    }

    #[test]
    fn dates_are_those_of_http() {
        let time = OffsetDateTime::from_unix_timestamp(1_493_254_272).unwrap();
        assert_eq!(date(time), "Thu, 27 Apr 2017 00:51:12 GMT");
    }
}
