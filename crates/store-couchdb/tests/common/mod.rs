//! OpenWhisk's documents, and what the tests of them share.
#![allow(dead_code, reason = "each test uses a part")]

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use whisker_store_couchdb::{Config, CouchDb};

/// Code that is too long to be kept in its document.
pub fn large() -> String {
    format!("function main() {{ return {{ large: true }} }}\n//{}\n", "x".repeat(20_000))
}

/// Bytes of an archive; nothing here looks into it.
pub fn archive() -> Vec<u8> {
    (0..20_000_u32).map(|n| (n * n / 7) as u8).collect()
}

/// A file of documents, with what stands for attachments put in.
pub fn documents(file: &str) -> Vec<Value> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat/couchdb")).join(file);
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("@large", &STANDARD.encode(large())).replace("@archive", &STANDARD.encode(archive()));
    serde_json::from_str(&text).unwrap()
}

pub async fn open(url: &str) -> CouchDb {
    CouchDb::open(&Config::parse(url, None).unwrap()).await.unwrap()
}

/// What a value is made of: names and types, down to the bottom. Lists show
/// what their members are made of, each kind once.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            let mut shapes: Vec<_> = items.iter().map(shape).collect();
            shapes.sort_by_key(Value::to_string);
            shapes.dedup();
            shapes.into()
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name.clone(), shape(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
    }
}
