//! Where settings come from: the command line, over variables, over a file,
//! over defaults; and which of them each role of a cluster has no use for.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, parser::ValueSource};

use super::Whisker;

/// Port of an invoker, so that it can live beside a controller.
const INVOKER_PORT: &str = "3234";
/// What an invoker, which has no API, has no use for.
const NOT_OF_INVOKERS: [&str; 13] = [
    "connections_max",
    "connections_per_address",
    "tls_cert",
    "tls_key",
    "trusted_proxy",
    "activations_max_age",
    "activations_max_count",
    "action_code_max",
    "blocking_wait",
    "invocations_per_minute",
    "concurrent_invocations",
    "fires_per_minute",
    "traces_kept",
];
/// What Kafka keeps in a cluster.
const OF_ONE_PROCESS: [&str; 2] = ["queue_max", "retries_max"];

/// Whether a role of a cluster has no use for a setting of the table.
fn is_foreign(role: &str, setting: &Arg) -> bool {
    let id = setting.get_id().as_str();
    let of_containers = setting.get_help_heading().is_some_and(|heading| heading.starts_with("Containers"));
    match role {
        "controller" => of_containers || OF_ONE_PROCESS.contains(&id),
        "invoker" => NOT_OF_INVOKERS.contains(&id) || OF_ONE_PROCESS.contains(&id),
        _ => false,
    }
}

/// The command line. The roles of a cluster take the table of `serve`, and show
/// what of it is theirs.
fn command() -> Command {
    let shown = |role: &'static str| {
        move |command: Command| {
            let foreign = command.get_arguments().filter(|setting| is_foreign(role, setting));
            let foreign: Vec<_> = foreign.map(|setting| setting.get_id().clone()).collect();
            foreign.into_iter().fold(command, |command, id| command.mut_arg(id, |setting| setting.hide(true)))
        }
    };
    let command = Whisker::command().mut_subcommand("controller", shown("controller"));
    let command = command.mut_subcommand("invoker", shown("invoker"));
    command.mut_subcommand("invoker", |invoker| invoker.mut_arg("port", |port| port.default_value(INVOKER_PORT)))
}

/// Refuses what was typed for a role that has no use for it. A variable or a
/// file may be meant for all the roles of a machine.
fn refuse_foreign(role: &str, matches: &ArgMatches) -> anyhow::Result<()> {
    let command = command();
    let settings = command.find_subcommand(role).into_iter().flat_map(Command::get_arguments);
    for setting in settings.filter(|setting| is_foreign(role, setting)) {
        let id = setting.get_id().as_str();
        if matches.value_source(id) == Some(ValueSource::CommandLine) {
            bail!("--{} is no setting of `whisker {role}`", setting.get_long().unwrap_or(id));
        }
    }
    Ok(())
}

/// Reads arguments, variables and the settings file. Ends the process, with
/// words, for `--help` and for arguments that make no sense.
pub fn read() -> anyhow::Result<Whisker> {
    let words: Vec<_> = with_long_names(std::env::args_os()).collect();
    let first = command().get_matches_from(&words);
    let file = first.subcommand().and_then(|(role, of_role)| Some((role.to_owned(), settings_file(of_role)?)));
    let matches = match file {
        None => first,
        Some((role, path)) => {
            let values =
                read_file(&path).with_context(|| format!("cannot use the settings file {}", path.display()))?;
            let command = with_defaults(command(), &role, &values)
                .with_context(|| format!("cannot use the settings file {}", path.display()))?;
            command.get_matches_from(&words)
        }
    };
    if let Some((role, of_role)) = matches.subcommand() {
        refuse_foreign(role, of_role)?;
    }
    Ok(Whisker::from_arg_matches(&matches)?)
}

/// Arguments in which wskadmin's `-ns`, which is no flag of one letter, has its
/// long name.
fn with_long_names(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut admin = false;
    words.enumerate().map(move |(place, word)| {
        admin |= place == 1 && word == "admin";
        if admin && word == "-ns" { "--namespace".into() } else { word }
    })
}

fn settings_file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>("settings").ok().flatten().cloned()
}

/// The file's values by the names of flags.
fn read_file(path: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let table: toml::Table = fs::read_to_string(path)?.parse()?;
    let mut values = Vec::new();
    flatten("", table, &mut values)?;
    Ok(values)
}

fn flatten(prefix: &str, table: toml::Table, values: &mut Vec<(String, Vec<String>)>) -> anyhow::Result<()> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.replace('_', "-"));
        match value {
            toml::Value::Table(inner) => flatten(&format!("{name}-"), inner, values)?,
            toml::Value::Array(items) => {
                values.push((name.clone(), items.iter().map(|v| scalar(&name, v)).collect::<Result<_, _>>()?));
            }
            value => values.push((name.clone(), vec![scalar(&name, &value)?])),
        }
    }
    Ok(())
}

fn scalar(name: &str, value: &toml::Value) -> anyhow::Result<String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(boolean) => Ok(boolean.to_string()),
        _ => bail!("{name}: only texts, whole numbers, booleans and lists of them are settings"),
    }
}

/// The command, with the file's values in the place of its defaults.
fn with_defaults(command: Command, role: &str, values: &[(String, Vec<String>)]) -> anyhow::Result<Command> {
    let names_of = |role: &str| -> Vec<String> {
        let of_role = command.find_subcommand(role).map(Command::get_arguments).into_iter().flatten();
        of_role.filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
    };
    // The file is the server's, whoever reads it, or one for all of a cluster.
    let readers = match role {
        "serve" | "doctor" => vec!["serve"],
        "controller" | "invoker" => vec!["controller", "invoker"],
        _ => vec!["serve", "controller", "invoker"],
    };
    let known: Vec<String> = readers.iter().flat_map(|role| names_of(role)).collect();
    let wanted = names_of(role);
    for (name, _) in values {
        if name == "settings" || !known.contains(name) {
            bail!("unknown setting {name:?}; `whisker {} --help` lists them all", readers[0]);
        }
    }
    let values: Vec<_> = values.iter().filter(|(name, _)| wanted.contains(name)).cloned().collect();
    Ok(command.mut_subcommand(role, move |command| {
        values.into_iter().fold(command, |command, (name, value)| {
            command.mut_arg(name.replace('-', "_"), |arg| match value.as_slice() {
                // Flags without a value are there or not.
                [only] if !arg.get_action().takes_values() => arg.default_value(only.clone()),
                _ => arg.default_values(value.clone()),
            })
        })
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        settings::{Role, Serve},
        units::Size,
    };

    fn parsed(file: &str, flags: &[&str]) -> anyhow::Result<Serve> {
        let mut values = Vec::new();
        flatten("", file.parse()?, &mut values)?;
        let command = with_defaults(command(), "serve", &values)?;
        let matches = command.try_get_matches_from([&["whisker", "serve"], flags].concat())?;
        match Whisker::from_arg_matches(&matches)?.role {
            Role::Serve(serve) => Ok(*serve),
            _ => bail!("not what was asked"),
        }
    }

    #[test]
    fn administrators_use_the_servers_file() {
        let values = [("data-dir".to_owned(), vec!["/a".to_owned()]), ("port".to_owned(), vec!["1".to_owned()])];
        let command = with_defaults(command(), "admin", &values).unwrap();
        let words = ["whisker", "admin", "user", "create", "anna-b", "-ns", "space"].map(OsString::from);
        let matches = command.try_get_matches_from(with_long_names(words.into_iter())).unwrap();
        let Role::Admin(admin) = Whisker::from_arg_matches(&matches).unwrap().role else { panic!("another role") };
        assert_eq!(admin.data_dir().unwrap(), Path::new("/a"));
        assert!(format!("{:?}", admin.command).contains("namespace: Some(\"space\")"));
        assert!(with_defaults(super::command(), "admin", &[("prot".to_owned(), vec![])]).is_err());
    }

    #[test]
    fn the_table_of_settings_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_role_of_a_cluster_takes_its_part_of_the_table() {
        let read = |words: &[&str]| {
            let words = [&["whisker"], words].concat();
            let matches = command().try_get_matches_from(&words)?;
            let (role, of_role) = matches.subcommand().unwrap();
            refuse_foreign(role, of_role)?;
            anyhow::Ok(Whisker::from_arg_matches(&matches)?.role)
        };
        let Role::Invoker(invoker) = read(&["invoker", "--network", "none", "--id", "2"]).unwrap() else {
            panic!("another role")
        };
        assert_eq!((invoker.id, invoker.serve.port), (Some(2), 3234));
        let Role::Controller(controller) = read(&["controller", "--tls-cert", "a", "--tls-key", "b"]).unwrap() else {
            panic!("another role")
        };
        assert_eq!((controller.id.as_str(), controller.serve.port), ("0", 3233));
        for (words, refused) in [
            (["controller", "--network", "none"], "--network"),
            (["invoker", "--blocking-wait", "1s"], "--blocking-wait"),
            (["controller", "--queue-max", "1"], "--queue-max"),
        ] {
            let said = read(&words).unwrap_err().to_string();
            assert!(said.contains(refused) && said.contains(words[0]), "{said}");
        }
        let help = |role: &str| command().find_subcommand_mut(role).unwrap().render_long_help().to_string();
        assert!(!help("controller").contains("--docker-host") && help("controller").contains("--fires-per-minute"));
        assert!(!help("invoker").contains("--fires-per-minute") && help("invoker").contains("--docker-host"));
    }

    #[test]
    fn one_file_does_for_a_cluster() {
        let values = [("kafka".to_owned(), vec!["k:1".to_owned()]), ("network".to_owned(), vec!["none".to_owned()])];
        for role in ["controller", "invoker", "admin"] {
            assert!(with_defaults(command(), role, &values).is_ok(), "{role}");
        }
        assert!(with_defaults(command(), "serve", &values).is_err(), "one process has no Kafka");
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let serve = parsed("port = 1\nno_prewarm = true\n[action]\nmemory-max = '1 GB'", &["--port", "2"]).unwrap();
        assert_eq!((serve.port, serve.no_prewarm, serve.action_memory_max), (2, true, Size(1 << 30)));
        assert_eq!(serve.listen.to_string(), "127.0.0.1");
    }

    #[test]
    fn what_the_file_gets_wrong_is_said() {
        for (file, words) in [
            ("prot = 1", "unknown setting \"prot\""),
            ("port = 'x'", "invalid value 'x'"),
            ("port = 1.5", "only texts"),
            ("[action]\nmemory = 1", "unknown setting \"action-memory\""),
        ] {
            let error = format!("{:#}", parsed(file, &[]).map(|_| ()).unwrap_err());
            assert!(error.contains(words), "{file}: {error}");
        }
    }

    #[test]
    fn lists_in_the_file_are_lists() {
        let serve = parsed("[network]\ndeny = ['10.0.0.0/8', '172.16.0.0/12']", &[]).unwrap();
        assert_eq!(serve.network_deny, ["10.0.0.0/8", "172.16.0.0/12"]);
    }
}
