//! Logs and metrics of the process.

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Serve};

/// Upper bounds of the buckets of everything measured in seconds: from half a
/// warm call to the longest run.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0];

/// The same of answers of actions, in bytes: tenths of OpenWhisk's largest.
const ANSWER_BYTES: [f64; 10] = {
    const TENTH: f64 = 104_857.6;
    let mut bounds = [TENTH; 10];
    let mut n = 1;
    while n < bounds.len() {
        bounds[n] = bounds[n - 1] + TENTH;
        n += 1;
    }
    bounds
};

/// Histograms are folded into buckets this often.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts logging to standard error.
pub fn log(settings: &Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).with_context(|| format!("cannot read --log {:?}", settings.log))?;
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Starts counting; the handle renders what was counted.
pub fn count() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_response_size_bytes".into()), &ANSWER_BYTES)?
        .install_recorder()
        .context("metrics are counted already")?;
    Ok(handle)
}

/// Keeps the histograms small, until the runtime ends.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}
