//! The body that creates or updates an action.

use serde_json::{Map, Value};
use whisker_entity::{
    ActionLimits, EntityName, Exec, ExecCode, LimitRange, LimitRanges, Limited, MB, Manifest, Parameters,
    QualifiedName, Version, is_base64_code,
};

use crate::{BodyError, Fields, messages, rule::read_reference};

/// What the reader of an action's body needs to know.
pub struct ActionRules<'a> {
    /// The kinds there are.
    pub manifest: &'a Manifest,
    /// What limits may be.
    pub limits: &'a LimitRanges,
    /// Longest code in bytes.
    pub code_max_bytes: u64,
    /// Most that parameters, and annotations, may take, in bytes.
    pub parameters_max_bytes: u64,
    /// What `_` means in a component's name.
    pub namespace: &'a EntityName,
}

/// A body that creates or updates an action: what is absent stays as it is,
/// or takes its default.
#[derive(Debug, Default)]
pub struct ActionPut {
    /// What it executes.
    pub exec: Option<Exec>,
    /// Replaces all parameters.
    pub parameters: Option<Parameters>,
    /// Merged over the annotations there are.
    pub annotations: Option<Parameters>,
    /// Annotations to take away first.
    pub del_annotations: Vec<String>,
    /// Limits given; others stay.
    pub limits: Option<LimitsPut>,
    /// The version to give it.
    pub version: Option<Version>,
    /// Kept for clients.
    pub publish: Option<bool>,
}

/// The limits that a body names.
#[derive(Debug, Default, Clone, Copy)]
pub struct LimitsPut {
    timeout: Option<u64>,
    memory: Option<u32>,
    logs: Option<u32>,
    concurrency: Option<u32>,
    instances: Option<u32>,
}

impl LimitsPut {
    /// Containers of the action at once.
    pub fn instances(&self) -> Option<u32> {
        self.instances
    }

    /// These limits over others.
    pub fn over(self, base: ActionLimits) -> ActionLimits {
        ActionLimits {
            timeout: self.timeout.unwrap_or(base.timeout),
            memory: self.memory.unwrap_or(base.memory),
            logs: self.logs.unwrap_or(base.logs),
            concurrency: self.concurrency.unwrap_or(base.concurrency),
            instances: self.instances.or(base.instances),
        }
    }
}

impl ActionPut {
    /// Reads and checks a body. Shape comes before size and size before
    /// range, whatever the order of the members, as in OpenWhisk.
    pub fn parse(body: &[u8], rules: &ActionRules<'_>) -> Result<Self, BodyError> {
        let mut fields = Fields::parse(body)?;
        let exec = fields.take("exec").map(|exec| read_exec(exec, rules)).transpose()?;
        let parameters = fields.parameters("parameters")?;
        let limits = fields.take("limits").map(read_limits).transpose()?;
        let version = fields.version()?;
        let publish = fields.publish()?;
        let annotations = fields.parameters("annotations")?;
        let del_annotations = match fields.take("delAnnotations") {
            Some(Value::Array(names)) => names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        if let Some(code) = exec.as_ref().and_then(Exec::code) {
            within("exec", code.length(), rules.code_max_bytes)?;
        }
        let allowed = rules.parameters_max_bytes;
        parameters.as_ref().map_or(Ok(()), |p| within("parameters", p.size_bytes(), allowed))?;
        annotations.as_ref().map_or(Ok(()), |p| within("annotations", p.size_bytes(), allowed))?;
        let limits = limits.map(|limits| check_limits(limits, rules.limits)).transpose()?;
        Ok(Self { exec, parameters, annotations, del_annotations, limits, version, publish })
    }
}

fn within(field: &'static str, is: u64, allowed: u64) -> Result<(), BodyError> {
    if is > allowed { Err(BodyError::TooLarge { field, is, allowed }) } else { Ok(()) }
}

/// `exec`, by the rules of `entity/Exec.scala`.
fn read_exec(exec: Value, rules: &ActionRules<'_>) -> Result<Exec, BodyError> {
    let Value::Object(mut exec) = exec else { return Err(BodyError::malformed("JSON object expected")) };
    let Some(Value::String(kind)) = exec.remove("kind") else {
        return Err(BodyError::malformed("'kind' must be a string defined in 'exec'"));
    };
    let kind = kind.trim().to_lowercase();
    match kind.as_str() {
        "sequence" => Ok(Exec::Sequence { components: read_components(exec, rules.namespace)? }),
        "blackbox" => read_blackbox(exec),
        _ => read_code(kind, exec, rules.manifest),
    }
}

fn read_components(mut exec: Map<String, Value>, namespace: &EntityName) -> Result<Vec<QualifiedName>, BodyError> {
    let components = match exec.remove("components") {
        Some(Value::Array(components)) => components,
        Some(_) => return Err(BodyError::malformed("'components' must be an array")),
        None => return Err(BodyError::malformed("'components' must be defined for sequence kind")),
    };
    components.iter().map(|component| read_reference(component, namespace)).collect()
}

fn read_blackbox(mut exec: Map<String, Value>) -> Result<Exec, BodyError> {
    let Some(Value::String(image)) = exec.remove("image") else {
        return Err(BodyError::malformed("'image' must be a string defined in 'exec' for 'blackbox' actions"));
    };
    if !is_image_name(&image) {
        return Err(BodyError::malformed("could not parse image name"));
    }
    let main = read_main("blackbox", exec.remove("main"))?;
    let code = match exec.remove("code") {
        None | Some(Value::Null) => None,
        Some(Value::String(code)) if code.trim().is_empty() => None,
        Some(Value::String(code)) => Some(code),
        Some(other) => return Err(not_code(&other)),
    };
    let binary = code.as_deref().is_some_and(is_base64_code);
    Ok(Exec::Blackbox { image, code: code.map(|c| ExecCode::Inline(c.into())), main, binary })
}

fn read_code(kind: String, mut exec: Map<String, Value>, manifest: &Manifest) -> Result<Exec, BodyError> {
    let runtime = manifest.resolve(&kind).map_err(|e| BodyError::malformed(e.to_string()))?;
    let kind = runtime.kind.clone();
    let main = read_main(&kind, exec.remove("main"))?;
    // Java's old clients send `jar`.
    let code = match exec.remove("code").or_else(|| exec.remove("jar").filter(|_| kind.starts_with("java"))) {
        Some(Value::String(code)) => code,
        None | Some(Value::Null) => {
            let words = format!("'code' must be a string or attachment object defined in 'exec' for '{kind}' actions");
            return Err(BodyError::malformed(words));
        }
        Some(other) => return Err(not_code(&other)),
    };
    if runtime.require_main && main.is_none() {
        return Err(BodyError::malformed(format!("'main' must be a string defined in 'exec' for '{kind}' actions")));
    }
    let binary = is_base64_code(&code);
    Ok(Exec::Code { kind, code: ExecCode::Inline(code.into()), main, binary })
}

/// A client has no business naming the store's attachments.
fn not_code(value: &Value) -> BodyError {
    BodyError::malformed(format!("Could not deserialize as attachment record: {value}"))
}

fn read_main(kind: &str, main: Option<Value>) -> Result<Option<String>, BodyError> {
    match main {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(main)) => Ok(Some(main)),
        Some(_) => Err(BodyError::malformed(format!("if defined, 'main' be a string in 'exec' for '{kind}' actions"))),
    }
}

/// Docker's reference grammar, `[domain[:port]/]path…[:tag][@digest]`, as far
/// as OpenWhisk checks it.
fn is_image_name(image: &str) -> bool {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let slash = rest.rfind('/').map_or(0, |i| i + 1);
    let (path, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let mut parts = path.split('/').enumerate();
    let several = path.contains('/');
    let good_part = |(i, part): (usize, &str)| {
        let domain = i == 0 && several;
        let inner = |b: u8| if domain { word(b) || b == b':' } else { word(b) && !b.is_ascii_uppercase() };
        part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() && inner(b)) && part.bytes().all(inner)
    };
    parts.all(good_part)
        && tag.is_none_or(|t| !t.is_empty() && t.len() <= 128 && t.bytes().all(word))
        && digest.is_none_or(|d| d.contains(':') && d.bytes().all(|b| word(b) || matches!(b, b':' | b'+')))
}

/// Whole numbers as they came, before ranges are known.
#[derive(Default)]
struct RawLimits {
    timeout: Option<i64>,
    memory: Option<i64>,
    logs: Option<i64>,
    concurrency: Option<i64>,
    instances: Option<i64>,
}

fn read_limits(limits: Value) -> Result<RawLimits, BodyError> {
    let Value::Object(mut limits) = limits else {
        return Err(BodyError::malformed("Object expected in field 'timeout'"));
    };
    let mut whole = |field: &str, shape: &str, fraction: &str| match limits.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => n
            .as_i64()
            .or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            .map(Some)
            .ok_or_else(|| BodyError::malformed(format!("requirement failed: {fraction} must be whole number"))),
        Some(_) => Err(BodyError::malformed(format!("{shape} malformed"))),
    };
    let read = RawLimits {
        timeout: whole("timeout", "time limit", "time limit")?,
        memory: whole("memory", "memory limit", "memory limit")?,
        logs: whole("logs", "log limit", "log limit")?,
        concurrency: whole("concurrency", "concurrency limit", "intra concurrency limit")?,
        instances: whole("instances", "instance limit", "instance concurrency limit")?,
    };
    if [read.memory, read.logs].into_iter().flatten().any(|size| size < 0) {
        return Err(BodyError::malformed("requirement failed: a negative size of an object is not allowed."));
    }
    if read.instances.is_some_and(|count| count < 0) {
        return Err(BodyError::malformed(format!("requirement failed: {}", messages::INSTANCES_NEGATIVE)));
    }
    Ok(read)
}

/// Ranges are checked in OpenWhisk's order: memory, time, logs, concurrency.
fn check_limits(raw: RawLimits, ranges: &LimitRanges) -> Result<LimitsPut, BodyError> {
    let check = |limit: Limited, value: Option<i64>, range: LimitRange| {
        let Some(value) = value else { return Ok(None) };
        limit.check(value, range).map_err(|e| BodyError::Refused(e.to_string()))?;
        Ok(u64::try_from(value).ok())
    };
    let narrow = |value: Option<u64>| value.and_then(|v| u32::try_from(v).ok());
    let memory = check(Limited::Memory, raw.memory, ranges.memory_mb)?;
    let timeout = check(Limited::Timeout, raw.timeout, ranges.timeout_ms)?;
    let logs = check(Limited::Logs, raw.logs, ranges.logs_mb)?;
    let concurrency = check(Limited::Concurrency, raw.concurrency, ranges.concurrency)?;
    // Their bound is the namespace's, and asked for later.
    let instances = raw.instances.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(LimitsPut { timeout, memory: narrow(memory), logs: narrow(logs), concurrency: narrow(concurrency), instances })
}

/// Longest code that OpenWhisk takes, in bytes.
pub const CODE_MAX_BYTES: u64 = 48 * MB;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(body: &str) -> Result<ActionPut, String> {
        let manifest = Manifest::parse(
            r#"{"runtimes":{"nodejs":[{"kind":"nodejs:20","default":true,"image":{"prefix":"o","name":"n","tag":"t"}}],
                "java":[{"kind":"java:8","requireMain":true,"image":{"prefix":"o","name":"j","tag":"t"}}]}}"#,
        )
        .expect("a manifest");
        let rules = ActionRules {
            manifest: &manifest,
            limits: &LimitRanges::default(),
            code_max_bytes: 100,
            parameters_max_bytes: 20,
            namespace: &"guest".parse().expect("a name"),
        };
        ActionPut::parse(body.as_bytes(), &rules)
            .map_err(|e| e.to_string().replace("The request content was malformed:\n", "~"))
    }

    #[test]
    fn exec_errors_are_told_in_openwhisks_words() {
        for (exec, words) in [
            (r#""nodejs:20""#, "~JSON object expected"),
            (r#"{"code":"x"}"#, "~'kind' must be a string defined in 'exec'"),
            (
                r#"{"kind":"nodejs:20"}"#,
                "~'code' must be a string or attachment object defined in 'exec' for 'nodejs:20' actions",
            ),
            (r#"{"kind":"nodejs:20","code":7}"#, "~Could not deserialize as attachment record: 7"),
            (
                r#"{"kind":"nodejs:20","code":"x","main":7}"#,
                "~if defined, 'main' be a string in 'exec' for 'nodejs:20' actions",
            ),
            (r#"{"kind":"java:8","code":"AAAA"}"#, "~'main' must be a string defined in 'exec' for 'java:8' actions"),
            (r#"{"kind":"blackbox"}"#, "~'image' must be a string defined in 'exec' for 'blackbox' actions"),
            (r#"{"kind":"blackbox","image":"Not A Image!"}"#, "~could not parse image name"),
            (r#"{"kind":"sequence"}"#, "~'components' must be defined for sequence kind"),
        ] {
            assert_eq!(put(&format!(r#"{{"exec":{exec}}}"#)).map(|_| ()), Err(words.to_owned()), "{exec}");
        }
    }

    #[test]
    fn images_follow_dockers_grammar() {
        for good in ["a", "me/img", "me/img:1", "reg.example:5000/a/b:tag", "a@sha256:0123"] {
            assert!(is_image_name(good), "{good}");
        }
        for bad in ["", "A", "a b", "me/", "/a", "me/Img", "a:", "a@", "ü"] {
            assert!(!is_image_name(bad), "{bad}");
        }
    }

    #[test]
    fn limits_are_checked_for_shape_then_range() {
        for (limits, words) in [
            ("5", "~Object expected in field 'timeout'"),
            (r#"{"timeout":"long"}"#, "~time limit malformed"),
            (r#"{"memory":128.5}"#, "~requirement failed: memory limit must be whole number"),
            (r#"{"concurrency":1.5}"#, "~requirement failed: intra concurrency limit must be whole number"),
            (r#"{"logs":-1}"#, "~requirement failed: a negative size of an object is not allowed."),
            (
                r#"{"instances":-1}"#,
                "~requirement failed: Action container concurrency must be greater than or equal to 0.",
            ),
            (
                r#"{"timeout":99}"#,
                "requirement failed: duration 99 milliseconds below allowed threshold of 100 milliseconds",
            ),
            (r#"{"logs":11}"#, "requirement failed: log size 11 MB exceeds allowed threshold of 10 MB"),
            (r#"{"concurrency":2}"#, "requirement failed: concurrency 2 exceeds allowed threshold of 1"),
            (
                r#"{"memory":1000000,"timeout":1000000}"#,
                "requirement failed: memory size 1000000 MB exceeds allowed threshold of 512 MB",
            ),
        ] {
            assert_eq!(put(&format!(r#"{{"limits":{limits}}}"#)).map(|_| ()), Err(words.to_owned()), "{limits}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let long = "x".repeat(101);
        assert_eq!(
            put(&format!(r#"{{"exec":{{"kind":"nodejs:20","code":"{long}"}}}}"#)).map(|_| ()),
            Err("exec larger than allowed: 101 > 100 bytes.".into())
        );
        assert_eq!(
            put(&format!(r#"{{"annotations":[{{"key":"a","value":"{long}"}}]}}"#)).map(|_| ()),
            Err("annotations larger than allowed: 104 > 20 bytes.".into())
        );
    }

    #[test]
    fn a_component_may_name_the_callers_namespace() {
        let put = put(r#"{"exec":{"kind":"sequence","components":["/_/a","/guest/p/b"]}}"#).expect("good");
        let names = ["guest/a", "guest/p/b"].map(|n| n.parse().expect("a name"));
        assert_eq!(put.exec, Some(Exec::Sequence { components: names.into() }));
    }
}
