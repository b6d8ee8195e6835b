//! The lines that go to a launcher, on its standard input (`runtimes/README.md`).

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use whisker_entity::ActivationId;

/// What a launcher is to load.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Init<'a> {
    /// The activation that pays for it and owns its lines.
    pub activation: ActivationId,
    /// Bare name of the action.
    pub name: &'a str,
    /// Entry point.
    pub main: &'a str,
    /// Source text, unless there is a folder.
    pub code: Option<&'a str>,
    /// The folder that holds the code, as the launcher sees it.
    pub folder: Option<&'a str>,
    /// Whether runs may overlap.
    pub concurrent: bool,
    /// Variables for user code.
    pub env: &'a BTreeMap<String, String>,
}

/// The line for an initialisation.
///
/// # Errors
///
/// None that were seen: all of it is text.
pub fn init(init: Init<'_>) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Line<'a> {
        init: Init<'a>,
    }
    let mut line = serde_json::to_vec(&Line { init })?;
    line.push(b'\n');
    Ok(line)
}

/// The line by which a launcher that knows no more than a shell becomes the
/// action's own program: commands for that shell. The program finds its
/// environment and then the lines of runs.
pub fn handover(env: &BTreeMap<String, String>, folder: &str) -> Vec<u8> {
    let mut line = b"cd ".to_vec();
    quote(folder, &mut line);
    // A name or value that no environment can have is left out.
    let has_place = |name: &str, value: &str| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    let variables = env.iter().filter(|(name, value)| has_place(name, value));
    // `env` takes any name, and as long to start as the shell did. So what the
    // platform sets, which no shell takes for its own, is set by the shell.
    let (ours, theirs): (Vec<_>, Vec<_>) = variables.partition(|(name, _)| is_ours(name));
    line.extend_from_slice(b" && export __OW_WAIT_FOR_ACK=1");
    for (name, value) in ours {
        line.extend_from_slice(format!(" {name}=").as_bytes());
        quote(value, &mut line);
    }
    line.extend_from_slice(b" && exec");
    if !theirs.is_empty() {
        line.extend_from_slice(b" /usr/bin/env");
    }
    for (name, value) in theirs {
        line.push(b' ');
        quote(&format!("{name}={value}"), &mut line);
    }
    line.extend_from_slice(b" ./exec\n");
    line
}

/// The line by which a shell that waits becomes a launcher: commands for it.
pub fn launcher<'a>(
    environment: impl Iterator<Item = (&'a String, &'a String)>,
    command: impl Iterator<Item = String>,
) -> Vec<u8> {
    // What some shells put into the environment by themselves.
    let mut line = b"unset OLDPWD SHLVL".to_vec();
    for (name, value) in environment {
        line.extend_from_slice(format!(" && export {name}=").as_bytes());
        quote(value, &mut line);
    }
    line.extend_from_slice(b" && exec");
    for word in command {
        line.push(b' ');
        quote(&word, &mut line);
    }
    line.push(b'\n');
    line
}

/// Whether this is a variable of the platform's, and a name to a shell.
fn is_ours(name: &str) -> bool {
    name.starts_with("__OW_") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One word for a shell, on one line: `$N` is a line feed there.
fn quote(word: &str, line: &mut Vec<u8>) {
    line.push(b'\'');
    line.extend_from_slice(word.replace('\'', r"'\''").replace('\n', "'\"$N\"'").as_bytes());
    line.push(b'\'');
}

/// The line for a run: its parameters, which are JSON, what else is known of it,
/// and `activation_id`, by which the launcher knows it for one.
///
/// # Errors
///
/// None that were seen: all of it is text.
pub fn run(
    value: &str,
    context: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    activation: ActivationId,
) -> serde_json::Result<Vec<u8>> {
    const IDENTITY: &str = "activation_id";
    let value = one_line(value);
    let mut line = Vec::with_capacity(value.len() + 400);
    line.extend_from_slice(b"{\"value\":");
    line.extend_from_slice(value.as_bytes());
    for (name, text) in context {
        if name.as_ref() != IDENTITY {
            member(&mut line, name.as_ref(), text.as_ref())?;
        }
    }
    member(&mut line, IDENTITY, &activation.to_string())?;
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
fn one_line(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_run_is_one_line_whatever_the_client_wrote() {
        let value = "{\n \"a\" :\r\n \"x\\ny\"\n}";
        let context = [("activation_id", "another"), ("namespace", "a \"b\"\n")];
        let line = run(value, context, ActivationId::new(0, 7)).unwrap();
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
    fn a_handover_survives_a_shell() {
        let hard = "a'b\"c$HOME `id` \\ \n;é";
        let env = [
            ("plain", "1"),
            ("__OW_KEY", hard),
            ("__OW_my-key", "2"),
            ("my-key", hard),
            ("", "x"),
            ("a=b", "x"),
            ("nul", "\0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let folder = tempfile::tempdir().unwrap();
        // Not a script: a shell forgets names that are none to it.
        std::os::unix::fs::symlink("/usr/bin/env", folder.path().join("exec")).unwrap();
        let line = handover(&env, folder.path().to_str().unwrap());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let script = format!("N='\n'\n{}", String::from_utf8(line).unwrap());
        let said = std::process::Command::new("/bin/sh").arg("-c").arg(script).env_clear().output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        for (name, value) in
            [("my-key", hard), ("__OW_KEY", hard), ("plain", "1"), ("__OW_my-key", "2"), ("__OW_WAIT_FOR_ACK", "1")]
        {
            assert!(said.contains(&format!("{name}={value}\n")), "{name} is not in {said:?}");
        }
        assert!(!said.contains("=x\n") && !said.contains("nul"), "{said:?}");
    }

    #[test]
    fn a_shell_becomes_a_launcher_with_every_word_as_it_is() {
        let environment: BTreeMap<String, String> = [("HARD".to_owned(), "a'b\"c$HOME `id` \\ \n;é".to_owned())].into();
        let words = ["/usr/bin/printf", "<%s>", "it's", "$HOME", ""].map(str::to_owned);
        let line = String::from_utf8(launcher(environment.iter(), words.into_iter())).unwrap();
        assert_eq!(line.lines().count(), 1);
        let script = format!("N='\n'\n{}", line.replace("exec", "printf '%s|' \"$HARD\" && exec"));
        let said = std::process::Command::new("/bin/sh").arg("-c").arg(script).env_clear().output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{}|<it's><$HOME><>", environment["HARD"]));
    }

    #[test]
    fn a_handover_of_what_the_platform_sets_starts_nothing_in_between() {
        let env = [("__OW_API_HOST".to_owned(), "http://localhost".to_owned())].into();
        let line = String::from_utf8(handover(&env, "/action")).unwrap();
        assert_eq!(
            line,
            "cd '/action' && export __OW_WAIT_FOR_ACK=1 __OW_API_HOST='http://localhost' && exec ./exec\n"
        );
    }

    #[test]
    fn an_init_names_text_or_folder() {
        let (activation, env) = (ActivationId::new(0, 1), BTreeMap::new());
        let order = Init {
            activation,
            name: "a",
            main: "main",
            code: Some("code\n"),
            folder: None,
            concurrent: true,
            env: &env,
        };
        let line = init(order).unwrap();
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["init"]["code"], "code\n");
        assert_eq!(read["init"]["folder"], Value::Null);
        assert_eq!(read["init"]["concurrent"], true);
        assert_eq!(read["init"]["activation"], format!("{:032x}", 1));
    }
}
