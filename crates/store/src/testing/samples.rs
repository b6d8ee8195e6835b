//! Small documents to test with.

use std::sync::Arc;

use serde_json::value::RawValue;
use whisker_entity::{
    Action, Activation, ActivationId, AuthKey, Binding, EntityPath, Exec, ExecCode, Millis, Namespace, Package,
    Parameters, QualifiedName, Reference, Response, Rule, Status, Subject, Trigger, Version,
};

use crate::{ActivationQuery, Cursor, Document, Error, Page, Portion, Scan};

/// A name, a path: whatever the text should be.
pub fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A page that holds everything.
pub const WHOLE: Page = Page { skip: 0, limit: u64::MAX };

/// `nodejs:20` code under a full name.
pub fn action(name: &str, code: &str, updated: Millis) -> Action {
    let name: QualifiedName = parse(name);
    Action {
        namespace: name.path,
        name: name.name,
        exec: Exec::Code { kind: "nodejs:20".into(), code: ExecCode::Inline(code.into()), main: None, binary: false },
        parameters: Parameters::default(),
        limits: Default::default(),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        updated,
    }
}

/// An action without code, to fill lists with.
pub fn sequence(name: &str, updated: Millis) -> Document {
    let exec = Exec::Sequence { components: vec![parse("ns/one"), parse("ns/pkg/two")] };
    Document::Action(Action { exec, ..action(name, "", updated) })
}

/// A package, or a binding to one.
pub fn package(name: &str, binding: Option<&str>, publish: bool, updated: Millis) -> Document {
    let name: QualifiedName = parse(name);
    Document::Package(Package {
        namespace: name.path,
        name: name.name,
        binding: binding.map(|b| Binding(parse(b))),
        parameters: Parameters::default(),
        version: Version::FIRST,
        publish,
        annotations: Parameters::default(),
        updated,
    })
}

/// A trigger.
pub fn trigger(name: &str, updated: Millis) -> Document {
    let name: QualifiedName = parse(name);
    Document::Trigger(Trigger {
        namespace: name.path,
        name: name.name,
        parameters: Parameters::default(),
        limits: Default::default(),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        rules: None,
        updated,
    })
}

/// A rule.
pub fn rule(name: &str, updated: Millis) -> Document {
    let name: QualifiedName = parse(name);
    Document::Rule(Rule {
        trigger: Reference(QualifiedName::new(name.path.clone(), parse("t"))),
        action: Reference(parse("other/pkg/a")),
        namespace: name.path,
        name: name.name,
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        updated,
    })
}

/// An id that sorts by `n` and by nothing else.
pub fn id(n: u64) -> ActivationId {
    ActivationId::new(n, 0xfeed)
}

/// The record of a successful run of `path` (`ns/[pkg/]action`), invoked in
/// the namespace `whose`.
pub fn record(whose: &str, path: &str, id: ActivationId, start: Millis) -> Activation {
    let mut annotations = Parameters::default();
    annotations.set_value("path", path);
    annotations.set_value("kind", "nodejs:20");
    Activation {
        namespace: parse(whose),
        name: parse::<QualifiedName>(path).name,
        subject: whose.into(),
        id,
        start,
        end: start.saturating_add(7),
        cause: None,
        response: Response {
            status: Status::Success,
            result: RawValue::from_string(format!(r#"{{"start": {start}}}"#)).ok(),
            size: Some(13),
        },
        logs: vec![format!("2026-11-21T10:00:00.000000000Z stdout: {id}")],
        version: Version::FIRST,
        publish: false,
        annotations,
        duration: Some(7),
    }
}

/// Records of `ns/a` with the given ids, which are also their times.
pub fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Arc<Activation>> {
    ids.into_iter().map(|n| Arc::new(record("ns", "ns/a", id(n), n))).collect()
}

/// Everything of a namespace.
pub fn all_of(namespace: &str) -> ActivationQuery {
    ActivationQuery { namespace: parse(namespace), name: None, since: None, upto: None }
}

/// A subject that owns namespaces, each given as name and uuid.
pub fn subject(name: &str, namespaces: &[(&str, &str)]) -> Subject {
    let namespaces = namespaces.iter().map(|&(name, uuid)| Namespace { name: parse(name), key: key(uuid) });
    Subject { subject: name.into(), namespaces: namespaces.collect(), blocked: false }
}

/// A key for a uuid.
pub fn key(uuid: &str) -> AuthKey {
    AuthKey::parse(&format!("{uuid}:{}", "k".repeat(AuthKey::KEY_CHARS))).unwrap()
}

/// A path, for lists.
pub fn path(text: &str) -> EntityPath {
    parse(text)
}

/// All that a scan gives, with portions of so many.
pub async fn scanned<T>(
    limit: u64,
    mut step: impl AsyncFnMut(Option<Cursor>, Portion) -> Result<Scan<T>, Error>,
) -> Vec<T> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let scan = step(after.take(), Portion { limit, max_bytes: u64::MAX }).await.unwrap();
        assert!(scan.items.len() as u64 <= limit, "{} in a portion of {limit}", scan.items.len());
        all.extend(scan.items.into_iter().map(Result::unwrap));
        after = scan.next;
        if after.is_none() {
            return all;
        }
    }
}
