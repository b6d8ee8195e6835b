//! JSON as text: results are looked into and laid out without being parsed.
//!
//! A function's result goes to the client as the function wrote it, save for
//! the space between tokens. So a number keeps all its digits, members keep
//! their order, and no depth of nesting can exhaust a stack: everything here
//! is a loop over bytes, or a look at one level.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// Digits.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`
    Null,
}

/// What a value is. A token's first character tells.
pub fn kind(value: &RawValue) -> Kind {
    match value.get().trim_start().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// The members of an object, or `None` if it is something else.
pub fn members(value: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(value.get()).ok()
}

/// The members of an object, in their order.
pub struct Members<'a>(Vec<(Text, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of a name; the last, if there are several.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(n, _)| n.0 == name).map(|(_, value)| *value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.0.as_str(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Each<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect::<Result<_, _>>().map(Members)
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// The items of an array, or `None` if it is something else.
pub fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// A string, or `None` if it is something else.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str::<Text>(value.get()).ok().map(|text| text.0)
}

/// A string that may hold halves of surrogate pairs: JSON can spell them,
/// JavaScript makes them, UTF-8 has none. They become U+FFFD.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lossy;
        impl Visitor<'_> for Lossy {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        // Asked for bytes, the parser hands out strings that are not UTF-8.
        deserializer.deserialize_bytes(Lossy)
    }
}

/// Lays JSON out as OpenWhisk does: a line for each member of an object, a
/// space behind each comma of an array.
pub fn pretty(value: &RawValue) -> String {
    let text = value.get();
    let mut out = String::with_capacity(text.len() * 2);
    // The brackets that are open, and how many of them are objects'.
    let mut open: Vec<u8> = Vec::new();
    let mut depth = 0;
    let mut rest = text;
    while let Some(&byte) = rest.as_bytes().first() {
        let mut length = 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'{' | b'[' => {
                out.push(char::from(byte));
                open.push(byte);
                let after = rest[1..].trim_start_matches([' ', '\t', '\n', '\r']);
                if byte == b'{' {
                    depth += 1;
                    if !after.starts_with('}') {
                        new_line(&mut out, depth);
                    }
                }
            }
            b'}' | b']' => {
                open.pop();
                if byte == b'}' {
                    depth = usize::saturating_sub(depth, 1);
                    if !out.ends_with('{') {
                        new_line(&mut out, depth);
                    }
                }
                out.push(char::from(byte));
            }
            b',' if open.last() == Some(&b'{') => {
                out.push(',');
                new_line(&mut out, depth);
            }
            b',' => out.push_str(", "),
            b':' => out.push_str(": "),
            b'"' => {
                length = string_length(rest);
                out.push_str(&rest[..length]);
            }
            _ => {
                length = rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len()).max(1);
                out.push_str(&rest[..length]);
            }
        }
        rest = &rest[length..];
    }
    out
}

/// Deepest indentation. Without a bound a megabyte of brackets would become
/// gigabytes of space.
const DEEPEST_INDENT: usize = 20;

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    (0..depth.min(DEEPEST_INDENT)).for_each(|_| out.push_str("  "));
}

/// How long the string is that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).expect(text)
    }

    #[test]
    fn layout_is_openwhisks_and_tokens_are_the_functions() {
        for (text, laid_out) in [
            (r#"{"a":[1,2],"b":{"c":null}}"#, "{\n  \"a\": [1, 2],\n  \"b\": {\n    \"c\": null\n  }\n}"),
            (r#"[1, "two",{"x" : 1e400}]"#, "[1, \"two\", {\n  \"x\": 1e400\n}]"),
            ("{}", "{}"),
            (" [ ] ", "[]"),
            ("{ \n }", "{}"),
            (r#""a,{\"b\\""#, r#""a,{\"b\\""#),
            ("12345678901234567890.50", "12345678901234567890.50"),
            ("true", "true"),
            (r#"{"é":"\u00e9"}"#, "{\n  \"é\": \"\\u00e9\"\n}"),
        ] {
            assert_eq!(pretty(&raw(text)), laid_out, "{text}");
        }
    }

    #[test]
    fn depth_costs_neither_stack_nor_much_space() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(pretty(&raw(&deep)).len() < 100 * 100_000);
        assert_eq!(kind(&raw(&deep)), Kind::Object);
        assert!(members(&raw(&deep)).is_some_and(|m| m.get("a").is_some()));
    }

    #[test]
    fn halves_of_surrogates_are_replaced() {
        assert_eq!(string(&raw(r#""a\ud800b""#)).as_deref(), Some("a\u{fffd}\u{fffd}\u{fffd}b"));
        assert_eq!(string(&raw(r#""é\ud83d\ude00""#)).as_deref(), Some("é😀"));
        assert!(members(&raw(r#"{"\ud800":1}"#)).is_some());
        for other in ["5", "[97]", "{}", "null", "true"] {
            assert_eq!(string(&raw(other)), None, "{other}");
        }
    }
}
