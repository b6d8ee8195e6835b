//! Which results CouchDB keeps, and how well.
//!
//! A function's result is any JSON text, and is promised back as it was
//! written. CouchDB keeps values: it refuses `1e400` and half a surrogate pair,
//! and with them the whole batch that they came in; of a name given twice it
//! keeps one; it spells in its own way. What launchers write comes back as it
//! was. Any other result goes into the document as a text too, of which
//! CouchDB has no opinion.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// How a result is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// As a value, which is read as the same text again.
    Value,
    /// As a value, and as its text.
    Both,
    /// As a text alone: CouchDB would refuse or change the value.
    Text,
}

impl Keeping {
    /// How a result of this text is kept.
    pub fn of(text: &str) -> Self {
        // Reading it finds numbers out of range, broken pairs, and nesting too deep.
        match serde_json::from_str::<Looked>(text) {
            Err(_) => Keeping::Text,
            Ok(looked) if looked.keeps_order && is_plain(text) => Keeping::Value,
            Ok(_) => Keeping::Both,
        }
    }
}

/// Whether everyone spells this so.
fn is_plain(text: &str) -> bool {
    let respelled = || serde_json::from_str::<Value>(text).and_then(|value| serde_json::to_string(&value));
    !text.contains("\\u") && numbers(text).all(is_plain_number) && respelled().is_ok_and(|other| other == text)
}

/// The numbers of a JSON text, as they are spelled.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let outside = {
        let (mut inside, mut escaped) = (false, false);
        move |c: char| {
            if inside {
                (inside, escaped) = (escaped || c != '"', !escaped && c == '\\');
                return false;
            }
            inside = c == '"';
            matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')
        }
    };
    let mut outside = outside;
    // `e` alone is that of a literal.
    text.split(move |c| !outside(c)).filter(|token| token.bytes().any(|b| b.is_ascii_digit()))
}

/// Whether it has few enough digits for all, and no exponent.
fn is_plain_number(number: &str) -> bool {
    let digits = number.trim_start_matches('-');
    let few = digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match digits.split_once('.') {
        None => few,
        Some((whole, part)) => few && !part.ends_with('0') && (whole != "0" || !part.starts_with("000")),
    }
}

/// Any value without names given twice.
struct Looked {
    /// Whether its members have an order in JavaScript too, which puts names
    /// that are numbers first.
    keeps_order: bool,
}

impl<'de> Deserialize<'de> for Looked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

const FINE: Looked = Looked { keeps_order: true };

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Looked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_str<E>(self, _: &str) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_unit<E>(self) -> Result<Looked, E> {
        Ok(FINE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Looked, A::Error> {
        let mut keeps_order = true;
        while let Some(item) = items.next_element::<Looked>()? {
            keeps_order &= item.keeps_order;
        }
        Ok(Looked { keeps_order })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Looked, A::Error> {
        let (mut names, mut keeps_order) = (HashSet::new(), true);
        while let Some(name) = members.next_key::<String>()? {
            keeps_order &= members.next_value::<Looked>()?.keeps_order;
            keeps_order &= !name.bytes().all(|b| b.is_ascii_digit());
            if !names.insert(name) {
                return Err(de::Error::custom("a name given twice"));
            }
        }
        Ok(Looked { keeps_order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept_as_values_where_they_come_back_as_they_were() {
        let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        for (text, keeping) in [
            (r#"{"a":1,"b":[1.5,-12.25,"ä\n\"1e9","\\",null,true,{}]}"#, Keeping::Value),
            (r#"{"true":false}"#, Keeping::Value),
            (r#"{"a": 1}"#, Keeping::Both),
            ("1e300", Keeping::Both),
            ("1.10", Keeping::Both),
            ("-0", Keeping::Both),
            ("0.00001", Keeping::Both),
            ("18446744073709551615", Keeping::Both),
            ("123456789012345678901234567890", Keeping::Both),
            (r#""\ud83e\udd80""#, Keeping::Both),
            (r#"{"b":1,"2":1}"#, Keeping::Both),
            (r#"{"a":1e400}"#, Keeping::Text),
            (r#"[{"a":1,"b":2,"a":1}]"#, Keeping::Text),
            (r#"{"a":"\ud800"}"#, Keeping::Text),
            (&deep, Keeping::Text),
        ] {
            assert_eq!(Keeping::of(text), keeping, "{text}");
        }
    }
}
