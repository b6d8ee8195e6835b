//! The `whisker` binary: reads settings, builds the parts, and knows signals
//! and exit codes. Everything else is in the crates it joins.

mod addresses;
mod admin;
mod app;
mod callback;
mod cluster;
mod configure;
mod discovery;
mod docker;
mod doctor;
mod http2;
mod kafka;
mod listener;
mod numbers;
mod observers;
mod off_limits;
mod one_length;
mod open_files;
mod patience;
mod platform;
mod preparing;
mod proxies;
mod retention;
mod secrets;
mod settings;
mod store;
mod stores;
mod subjects;
mod telemetry;
mod tls;
mod units;

use std::{num::NonZeroUsize, process::ExitCode};

use settings::{Role, Serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let outcome = settings::read().and_then(|whisker| match whisker.role {
        Role::Serve(settings) => run(&settings, async |cancel| app::serve(&settings, cancel).await),
        Role::Controller(settings) => run(&settings.serve, async |cancel| app::controller(&settings, cancel).await),
        Role::Invoker(mut settings) => {
            // Others of their cluster, of which brokers tell, are not known
            // before they answer.
            let brokers = settings.cluster.kafka.iter();
            settings.serve.needed_hosts = brokers.flat_map(|brokers| off_limits::listed(brokers)).collect();
            run(&settings.serve, async |cancel| app::invoker(&settings, cancel).await)
        }
        Role::Doctor(settings) => doctor::run(&settings).map(|works| ExitCode::from(u8::from(!works))),
        Role::Admin(settings) => admin::run(settings).map(ExitCode::from),
        Role::Store(settings) => store::run(settings).map(ExitCode::from),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("whisker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a role until a signal ends it.
fn run(settings: &Serve, role: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    telemetry::log(settings)?;
    open_files::raise();
    // A wake-up across processors costs more than a warm run, and containers
    // need processors too: with all of them taken by the server's own threads,
    // a call on two processors was measured to cost a fifth more.
    let threads = settings.threads.map_or_else(|| (configure::processors() / 2).max(1), NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let served = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let signals = tokio::spawn(stop_on_signals(cancel.clone()));
        let served = role(cancel).await;
        signals.abort();
        served
    });
    // What still blocks a thread now has had its time.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// The first signal asks for a graceful end, the second one gets a quick one.
async fn stop_on_signals(cancel: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; the server ends when it is killed");
        return;
    };
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    tracing::info!("shutting down; a second signal ends the server at once");
    cancel.cancel();
    next().await;
    tracing::warn!("ended at once, as asked: accepted activations are kept for the next start");
    std::process::exit(1);
}
