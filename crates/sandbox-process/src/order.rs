//! The lines that go to a launcher.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use whisker_sandbox::{Init, Run};

#[derive(Serialize)]
struct InitLine<'a> {
    init: InitBody<'a>,
}

#[derive(Serialize)]
struct InitBody<'a> {
    activation: String,
    name: &'a str,
    main: &'a str,
    code: Option<&'a str>,
    folder: Option<&'a str>,
    concurrent: bool,
    env: &'a std::collections::BTreeMap<String, String>,
}

/// The line for `init`, with source text or the folder that holds the code.
pub(crate) fn init(
    init: &Init,
    text: Option<&str>,
    folder: Option<&str>,
    concurrent: bool,
) -> serde_json::Result<Vec<u8>> {
    let body = InitBody {
        activation: init.activation.to_string(),
        name: &init.name,
        main: &init.main,
        code: text,
        folder,
        concurrent,
        env: &init.env,
    };
    let mut line = serde_json::to_vec(&InitLine { init: body })?;
    line.push(b'\n');
    Ok(line)
}

/// The line for a run. Always carries `activation_id`, by which the launcher
/// knows it for one.
pub(crate) fn run(run: &Run) -> serde_json::Result<Vec<u8>> {
    let value = one_line(&run.value);
    let mut line = Vec::with_capacity(value.len() + 400);
    line.extend_from_slice(b"{\"value\":");
    line.extend_from_slice(value.as_bytes());
    let mut identified = false;
    for (name, text) in &run.context {
        identified |= *name == "activation_id";
        member(&mut line, name, text)?;
    }
    if !identified {
        member(&mut line, "activation_id", &run.activation.to_string())?;
    }
    line.extend_from_slice(b"}\n");
    Ok(line)
}

fn member(line: &mut Vec<u8>, name: &str, text: &str) -> serde_json::Result<()> {
    line.push(b',');
    serde_json::to_writer(&mut *line, name)?;
    line.push(b':');
    serde_json::to_writer(&mut *line, text)
}

/// JSON as a client wrote it may span lines. Inside a string a line feed is
/// always escaped, so the bare ones stand between tokens, where a space is as
/// good.
fn one_line(value: &RawValue) -> Cow<'_, str> {
    let text = value.get();
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};
    use whisker_sandbox::testing::contract;

    use super::*;

    #[test]
    fn a_run_is_one_line_whatever_the_client_wrote() {
        let mut order = contract::run(7, &json!({}));
        order.value = RawValue::from_string("{\n \"a\" :\r\n \"x\\ny\"\n}".to_owned()).unwrap().into();
        order.context = vec![("namespace", "a \"b\"\n".to_owned())];
        let line = run(&order).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            read,
            json!({
                "value": { "a": "x\ny" },
                "namespace": "a \"b\"\n",
                "activation_id": format!("{:032x}", 7),
            })
        );
    }

    #[test]
    fn an_init_names_text_or_folder() {
        let order = contract::init(1, &whisker_sandbox::Code::Text("code\n".into()));
        let line = init(&order, Some("code\n"), None, true).unwrap();
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["init"]["code"], "code\n");
        assert_eq!(read["init"]["folder"], Value::Null);
        assert_eq!(read["init"]["concurrent"], true);
        assert_eq!(read["init"]["activation"], format!("{:032x}", 1));
    }
}
