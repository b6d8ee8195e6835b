//! What a call costs in each language, by how it meets its container: a new
//! one, one that was made and has no runtime yet, one that was started before
//! anyone asked, its own, its own frozen.

use std::time::Duration;

use serde_json::json;
use whisker_testkit::{Builder, Client, Docker, Server, pause};

use crate::{
    Settings,
    language::Language,
    latencies::{median, worst},
    report::show,
    server,
};

/// Calls of each sort in a round.
const CALLS: usize = 10;
/// Warm calls after each first one.
const WARM_CALLS: usize = 10;
/// Blank containers that the manifest asks for, whatever is called.
const STEMS: f64 = 3.0;

/// Times in ms of each sort of call.
#[derive(Default)]
struct Times {
    bare: Vec<f64>,
    /// No container was made before.
    made: Vec<f64>,
    cold: Vec<f64>,
    prewarmed: Vec<f64>,
    warm: Vec<f64>,
    resumed: Vec<f64>,
}

/// A container that was just started is ready for code once its runtime has
/// loaded, of which nobody is told. Any has by then, as the oldest has that a
/// server would take.
const LOADED: Duration = Duration::from_secs(1);

/// Measures all of them, and prints a table of its own.
pub fn measure(settings: &Settings) -> anyhow::Result<()> {
    table(settings, &Language::all()?, true, &server::builder)
}

/// The same in containers of a Docker daemon, for those of which an image can be
/// made of what this machine has.
pub fn measure_on_docker(settings: &Settings) -> anyhow::Result<()> {
    let mut languages = Language::all()?;
    languages.retain(|language| {
        let found = whisker_testkit::has_parts_of(&language.name);
        if !found {
            eprintln!("  {} is left out: it is not installed here", language.name);
        }
        found
    });
    let names: Vec<&str> = languages.iter().map(|language| language.name.as_str()).collect();
    let builder = server::with_limits_away(Docker::shared().server(&names));
    table(settings, &languages, false, &|| builder.clone())
}

/// One backend's. A daemon has no `spares`: its containers are made for an image.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn table(
    settings: &Settings,
    languages: &[Language],
    spares: bool,
    builder: &dyn Fn() -> Builder,
) -> anyhow::Result<()> {
    println!("In ms, p50 / p99 of {} calls each ({} warm ones).\n", CALLS * settings.rounds().len(), {
        3 * CALLS * WARM_CALLS * settings.rounds().len()
    });
    let (none_made, line) = if spares { (" none made |", " --- |") } else { ("", "") };
    println!("| language | bare start |{none_made} cold | prewarmed | warm | resumed |");
    println!("| --- | --- |{line} --- | --- | --- | --- |");
    for language in languages {
        let mut times = Times::default();
        for _ in settings.rounds() {
            if !round(language, spares, builder, &mut times)? {
                break;
            }
        }
        if times.warm.is_empty() {
            continue;
        }
        let pair = |times: &[f64]| format!(" {} / {} |", show(median(times)), show(worst(times, 0.99)));
        let Times { bare, made, cold, prewarmed, warm, resumed } = &times;
        let none_made = if spares { pair(made) } else { String::new() };
        let calls = [cold, prewarmed, warm, resumed].map(|times| pair(times)).concat();
        println!("| {} | {} |{none_made}{calls}", language.name, show(median(bare)));
    }
    println!();
    Ok(())
}

/// Whether the language runs here.
fn round(language: &Language, spares: bool, builder: &dyn Fn() -> Builder, times: &mut Times) -> anyhow::Result<bool> {
    if spares {
        let making = builder().switch("--no-prewarm").flag("--spare-containers", "0").start();
        if language.runs_here(&making.guest()) {
            first_calls(language, &making, First::Made, times)?;
        }
    }
    let cold = builder().switch("--no-prewarm").start();
    if !language.runs_here(&cold.guest()) {
        return Ok(false);
    }
    times.bare.push(language.bare_start_ms()?);
    first_calls(language, &cold, First::Cold, times)?;
    drop(cold);
    // One first call, and a container like it is kept ready for the next.
    let prewarming = builder().start();
    language.runs_here(&prewarming.guest());
    first_calls(language, &prewarming, First::Prewarmed, times)?;
    drop(prewarming);
    resumed(language, builder(), times)?;
    Ok(true)
}

/// How a first call meets its container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Made,
    Cold,
    Prewarmed,
}

fn first_calls(language: &Language, whisker: &Server, first: First, times: &mut Times) -> anyhow::Result<()> {
    let guest = whisker.guest();
    let state = if first == First::Prewarmed { "prewarmed" } else { "cold" };
    for number in 0..CALLS {
        let name = format!("first-{number}");
        language.create(&guest, &name);
        match first {
            First::Made => {}
            First::Cold => pause(server::SPARE),
            First::Prewarmed => {
                server::wait_for_stems(&guest, STEMS + 1.0)?;
                pause(LOADED);
            }
        }
        let before = starts(&guest, state);
        let took = server::call_ms(&guest, &name);
        if starts(&guest, state) > before {
            let of_first = match first {
                First::Made => &mut times.made,
                First::Cold => &mut times.cold,
                First::Prewarmed => &mut times.prewarmed,
            };
            of_first.push(took);
        }
        times.warm.extend((0..WARM_CALLS).map(|_| server::call_ms(&guest, &name)));
    }
    Ok(())
}

fn resumed(language: &Language, builder: Builder, times: &mut Times) -> anyhow::Result<()> {
    let whisker = builder.flag("--pause-grace", "50ms").start();
    let guest = whisker.guest();
    language.create(&guest, "paused");
    guest.post("actions/paused?blocking=true", &json!({})).expect(200);
    for _ in 0..CALLS {
        // Whether the pause came is seen afterwards.
        pause(3 * server::TICK);
        let before = starts(&guest, "paused");
        let took = server::call_ms(&guest, "paused");
        if starts(&guest, "paused") > before {
            times.resumed.push(took);
        }
    }
    Ok(())
}

fn starts(guest: &Client, state: &str) -> f64 {
    server::metric(guest, "invoker_container_start_total", &format!("\"{state}\""))
}
