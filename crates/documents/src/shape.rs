//! Entities in the shapes in which OpenWhisk stores them.
//!
//! Beside what OpenWhisk writes today this reads what it wrote earlier and
//! still reads: dates as texts, rules that name what they join plainly, code
//! as a bare text or as `jar`. What is written is today's shape. Members that
//! are not known stay where they are when a document is written again.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use whisker_entity::{CodeHash, ExecCode, Millis, is_base64_code};
use whisker_store::{Collection, Document, Error, Revision, Stored};

use crate::{
    code::{Code, Place, Unreadable},
    corrupt,
};

/// A stored entity, and of its document what the next write needs.
#[derive(Debug)]
pub struct Held {
    /// The entity, with its revision.
    pub stored: Stored,
    /// Where its code is, if it has code.
    pub code: Option<Code>,
    /// The document's own `exec.code`.
    code_member: Option<Value>,
    attachments: Option<Value>,
    /// Members that are not known.
    others: Map<String, Value>,
}

/// Members that every entity has.
const COMMON: [&str; 8] =
    ["namespace", "name", "version", "publish", "annotations", "updated", "entityType", "parameters"];

/// What a document is, and its members beside the common ones.
fn kind(document: &Map<String, Value>) -> Option<(Collection, &'static [&'static str])> {
    let has = |member| document.get(member).is_some_and(|value: &Value| !value.is_null());
    // The order is that of OpenWhisk's views and readers: by shape. Its
    // `entityType` came later, and says the same.
    if has("exec") {
        Some((Collection::Actions, &["exec", "limits"]))
    } else if has("trigger") {
        Some((Collection::Rules, &["trigger", "action", "status"]))
    } else if has("binding") {
        Some((Collection::Packages, &["binding"]))
    } else if has("parameters") {
        Some((Collection::Triggers, &["limits", "rules"]))
    } else {
        None
    }
}

#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("it is no action, package, trigger or rule")]
    Kind,
    #[error("it has no {0}, or one of another type")]
    Member(&'static str),
    #[error("{0} is no date")]
    Date(&'static str),
    #[error("it is called {0}")]
    Name(String),
}

impl Held {
    /// Reads a document.
    pub fn read(id: &str, document: Value) -> Result<Self, Error> {
        let Value::Object(mut document) = document else { return Err(corrupt(id, Unknown::Kind)) };
        let revision = match document.remove("_rev") {
            Some(Value::String(revision)) => Revision(revision.into()),
            _ => return Err(corrupt(id, Unknown::Member("_rev"))),
        };
        let attachments = document.remove("_attachments");
        let (collection, members) = kind(&document).ok_or_else(|| corrupt(id, Unknown::Kind))?;
        let unknown = |name: &str| !name.starts_with('_') && !COMMON.contains(&name) && !members.contains(&name);
        let names: Vec<_> = document.keys().filter(|name| unknown(name)).cloned().collect();
        let mut others = Map::new();
        for name in names {
            let value = document.remove(&name).unwrap_or_default();
            others.insert(name, value);
        }

        let updated = match document.get("updated") {
            Some(date) => millis(date).ok_or_else(|| corrupt(id, Unknown::Date("updated")))?,
            // Before OpenWhisk dated them.
            None => 0,
        };
        document.insert("updated".into(), json!(updated));
        document.entry("annotations").or_insert_with(|| json!([]));
        let (mut code, mut code_member) = (None, None);
        match collection {
            Collection::Actions => {
                let exec = document.get_mut("exec").and_then(Value::as_object_mut);
                let exec = exec.ok_or_else(|| corrupt(id, Unknown::Member("exec")))?;
                code_member = exec.remove("code").or_else(|| exec.remove("jar"));
                code = read_code(id, exec, code_member.as_ref(), attachments.as_ref()).map_err(|e| corrupt(id, e))?;
                if let Some(code) = &code {
                    exec.insert("code".into(), code.named());
                    exec.insert("binary".into(), json!(code.binary));
                }
                read_components(exec);
            }
            Collection::Rules => {
                let namespace = document.get("namespace").cloned().unwrap_or_default();
                for end in ["trigger", "action"] {
                    if let Some(reference @ Value::String(_)) = document.get_mut(end) {
                        *reference = reference_of(&namespace, reference.as_str().unwrap_or_default());
                    }
                }
            }
            Collection::Packages | Collection::PublicPackages | Collection::Triggers => {}
        }

        let document = Value::Object(document);
        let read = match collection {
            Collection::Actions => serde_json::from_value(document).map(Document::Action),
            Collection::Packages | Collection::PublicPackages => {
                serde_json::from_value(document).map(Document::Package)
            }
            Collection::Triggers => serde_json::from_value(document).map(Document::Trigger),
            Collection::Rules => serde_json::from_value(document).map(Document::Rule),
        };
        let document = read.map_err(|e| corrupt(id, e))?;
        let name = document.qualified_name().to_string();
        if name != id {
            return Err(corrupt(id, Unknown::Name(name)));
        }
        Ok(Self { stored: Stored { document, revision }, code, code_member, attachments, others })
    }

    /// Why its code cannot be had, if it cannot.
    pub fn without_code(&self) -> Option<Error> {
        let code = self.code.as_ref()?;
        let Place::Attached { name, there: false } = &code.place else { return None };
        let id = self.stored.document.qualified_name().to_string();
        Some(corrupt(&id, Unreadable::Gone(name.clone())))
    }
}

/// What a write does about code.
pub enum CodeMember {
    /// Nothing: there is none.
    None,
    /// It keeps what the document has.
    Kept,
    /// It is new: `exec.code`, and attachments.
    New(Value, Map<String, Value>),
}

/// The document that is written for an entity, in the place of `held`.
pub fn write(entity: &Document, held: Option<Held>, code: CodeMember) -> Result<String, serde_json::Error> {
    let mut written = Map::new();
    written.insert("_id".into(), json!(entity.qualified_name().to_string()));
    let (held_code, held_attachments) = match held {
        Some(held) => {
            written.insert("_rev".into(), json!(&*held.stored.revision.0));
            written.extend(held.others);
            (held.code_member, held.attachments)
        }
        None => (None, None),
    };
    let entity_type = match entity.collection() {
        Collection::Actions => "action",
        Collection::Packages | Collection::PublicPackages => "package",
        Collection::Triggers => "trigger",
        Collection::Rules => "rule",
    };
    written.insert("entityType".into(), json!(entity_type));
    if let Value::Object(members) = serde_json::to_value(entity)? {
        written.extend(members);
    }
    match code {
        CodeMember::None => {}
        CodeMember::Kept => {
            written["exec"]["code"] = held_code.unwrap_or_default();
            if let Some(attachments) = held_attachments {
                written.insert("_attachments".into(), stubs(attachments));
            }
        }
        CodeMember::New(code, attachments) => {
            written["exec"]["code"] = code;
            if !attachments.is_empty() {
                written.insert("_attachments".into(), attachments.into());
            }
        }
    }
    serde_json::to_string(&written)
}

/// Attachments as they were read, to be kept.
fn stubs(mut attachments: Value) -> Value {
    for attachment in attachments.as_object_mut().into_iter().flat_map(Map::values_mut) {
        attachment["stub"] = json!(true);
    }
    attachments
}

fn read_code(
    id: &str,
    exec: &mut Map<String, Value>,
    code: Option<&Value>,
    attachments: Option<&Value>,
) -> Result<Option<Code>, Unreadable> {
    if let Some(Value::String(kind)) = exec.get_mut("kind") {
        *kind = kind.trim().to_lowercase();
    }
    let blackbox = exec.get("kind").is_some_and(|kind| kind == "blackbox");
    match code {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if blackbox && text.trim().is_empty() => {
            exec.insert("binary".into(), json!(false));
            Ok(None)
        }
        Some(code) => {
            let binary = match code {
                Value::String(text) => is_base64_code(text),
                _ => exec.get("binary").and_then(Value::as_bool).unwrap_or(false),
            };
            Code::read(id, code, binary, attachments.unwrap_or(&Value::Null)).map(Some)
        }
    }
}

/// Components as names, where they are objects of path and name.
fn read_components(exec: &mut Map<String, Value>) {
    let components = exec.get_mut("components").and_then(Value::as_array_mut);
    for component in components.into_iter().flatten() {
        if let (Some(path), Some(name)) = (component["path"].as_str(), component["name"].as_str()) {
            *component = json!(format!("/{path}/{name}"));
        }
    }
}

/// What a rule joins, where it is only named: in the rule's namespace, unless
/// the name says where.
fn reference_of(namespace: &Value, name: &str) -> Value {
    match name.trim_start_matches('/').rsplit_once('/') {
        Some((path, name)) => json!({"path": path, "name": name}),
        None => json!({"path": namespace, "name": name}),
    }
}

/// A date: milliseconds, or a text as OpenWhisk reads too. One that a
/// JavaScript engine has rounded is as near as it can be.
pub fn millis(date: &Value) -> Option<Millis> {
    match date {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|n| n as u64)),
        Value::String(text) => {
            let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
        }
        _ => None,
    }
}

/// The code that a document to be written brings, or names.
pub fn code_of(document: &Document) -> Option<(&ExecCode, bool)> {
    let exec = document.exec()?;
    Some((exec.code()?, exec.binary()))
}

/// The text that is in an entity, or the hash under which it is elsewhere.
pub fn text_or_hash(code: &ExecCode) -> Result<Arc<str>, CodeHash> {
    match code {
        ExecCode::Inline(text) => Ok(text.clone()),
        ExecCode::Attached { hash, .. } => Err(*hash),
    }
}
