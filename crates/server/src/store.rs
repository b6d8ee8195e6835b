//! `whisker store`: copies one store to another, reads one to see whether
//! everything in it is understood, or shows what one refused.

mod wants;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use whisker_journal::Refused;
use whisker_secrets::{Seals, Secrets};
use whisker_transfer::{Content, Reached, Stage, Whole};

use crate::{
    app, configure, secrets,
    settings::{Durability, StoreAction, StoreCommand, data_dir},
    store::wants::Wants,
    stores::{Place, Stores},
};

/// How often the bar is drawn at most.
const DRAWN: Duration = Duration::from_millis(100);
/// Connections to each database server.
const CONNECTIONS: usize = 16;

/// Does what is asked and tells it; the exit code.
pub fn run(command: StoreCommand) -> anyhow::Result<u8> {
    let secrets = secrets::read(&command.keys)?;
    let seals = secrets.seals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command.action {
            StoreAction::Copy { from, from_password_file, to, to_password_file, resume } => {
                let from = place(&seals, &from, from_password_file.as_deref(), "WHISKER_FROM_PASSWORD", true)?;
                let to = place(&seals, &to, to_password_file.as_deref(), "WHISKER_TO_PASSWORD", false)?;
                copy(&from, &to, resume).await
            }
            StoreAction::Check { store, password_file } => {
                let place = place(&seals, &store, password_file.as_deref(), "WHISKER_STORE_PASSWORD", true)?;
                check(&place, &secrets).await
            }
            StoreAction::Refused { file } => refused(&file, seals),
        }
    })
}

async fn copy(from: &Place, to: &Place, resume: bool) -> anyhow::Result<u8> {
    let (source, target) = (whole(from.open().await?), whole(to.open().await?));
    let bar = Bar::new();
    let copied = whisker_transfer::copy(&source, &target, resume, &|reached| bar.show(reached)).await;
    bar.end();
    let copied = copied.with_context(|| format!("{} was not copied to {}", from.shown(), to.shown()))?;
    tell(&copied.content);
    for problem in &copied.left_out {
        eprintln!("left out: {problem}");
    }
    // What is there was copied; whoever scripts this should know of the rest.
    Ok(u8::from(!copied.left_out.is_empty()))
}

async fn check(place: &Place, secrets: &Secrets) -> anyhow::Result<u8> {
    let store = whole(place.open().await?);
    let (bar, manifest) = (Bar::new(), app::manifest()?);
    let mut wants = Wants::new(&manifest, secrets);
    let report = whisker_transfer::check(&store, &|reached| bar.show(reached), &mut |entity| wants.see(entity)).await;
    bar.end();
    let report = report.with_context(|| format!("{} cannot be read", place.shown()))?;
    tell(&report.content);
    report.problems.iter().for_each(|problem| eprintln!("not understood: {problem}"));
    let untold = report.problem_count.saturating_sub(report.problems.len() as u64);
    if untold > 0 {
        eprintln!("and {untold} more");
    }
    eprint!("{wants}");
    Ok(u8::from(report.problem_count > 0))
}

/// Tells what was set aside, in clear; no store is asked.
fn refused(file: &Path, seals: Seals) -> anyhow::Result<u8> {
    let failed = || format!("cannot read {}", file.display());
    fs::metadata(file).with_context(failed)?;
    let (mut line, mut unread) = (0_u64, 0_u64);
    let mut stdout = io::stdout().lock();
    let read = Refused::at(file, seals).read(|text| {
        line += 1;
        match text {
            Ok(text) => writeln!(stdout, "{text}"),
            Err(error) => {
                unread += 1;
                eprintln!("line {line}: {error}");
                Ok(())
            }
        }
    });
    match read {
        // Who reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        read => read.with_context(failed)?,
    }
    Ok(u8::from(unread > 0))
}

/// The place that a URL names, with its password. What is read must be there.
fn place(
    seals: &Seals,
    url: &str,
    password_file: Option<&Path>,
    variable: &str,
    is_read: bool,
) -> anyhow::Result<Place> {
    let password = match (password_file, env::var(variable).ok()) {
        (Some(_), Some(_)) => bail!("{variable} is set, and a file is given as well: which of them is it?"),
        (Some(file), None) => {
            Some(secrets::read_file(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
        (None, given) => given,
    };
    let password = password.as_deref().map(str::trim_end);
    // The data folder is only looked for where nothing else is said.
    let folder = if url == "sqlite" { data_dir(None)? } else { Default::default() };
    let place = configure::place(url, password, &folder, Durability::Process, CONNECTIONS)?.sealed_with(seals);
    let place = place.patient().only_what_is_there(is_read);
    match place.folder() {
        Some(folder) if is_read && !folder.join("store.db").exists() => {
            bail!("{} holds no server's data", folder.display())
        }
        _ => Ok(place),
    }
}

fn whole(stores: Stores) -> Whole {
    Whole { entities: stores.entities, activations: stores.activations, subjects: stores.subjects }
}

#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn tell(content: &Content) {
    for (kind, digest) in content.kinds() {
        println!("{:>12} {kind}", digest.count);
    }
}

/// What is under way, where somebody looks.
struct Bar(ProgressBar);

/// Of so many, and of nobody knows how many.
const KNOWN: &str = "{spinner} {msg} [{bar:30}] {human_pos} of {human_len} ({rate}, {eta} left)";
const UNKNOWN: &str = "{spinner} {msg} {human_pos} ({rate}, {elapsed})";

impl Bar {
    fn new() -> Self {
        let bar = Self(ProgressBar::new_spinner());
        bar.0.enable_steady_tick(DRAWN);
        bar
    }

    fn show(&self, Reached { stage, done, all }: Reached) {
        let words = match stage {
            Stage::Users => "users and limits",
            Stage::Entities => "actions, packages, triggers, rules",
            Stage::Records => "activation records",
            Stage::Comparing => "comparing",
        };
        if self.0.message() != words {
            self.0.reset();
            self.0.set_message(words);
            let style = ProgressStyle::with_template(if all.is_some() { KNOWN } else { UNKNOWN });
            let rate = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
                let _ = write!(line, "{}/s", HumanCount(state.per_sec() as u64));
            };
            if let Ok(style) = style {
                self.0.set_style(style.with_key("rate", rate).progress_chars("=> "));
            }
        }
        // There may be more than the store had counted.
        self.0.set_length(all.map_or(0, |all| all.max(done)));
        self.0.set_position(done);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
