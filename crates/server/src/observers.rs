//! Who looks on: user events, and traces. Both are off unless settings ask.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use whisker_bus::EventBus;
use whisker_events::Events;
use whisker_traces::{Endpoint, Exporter, Tracer, Where};

/// How long the last events and spans may take at the end.
const END: Duration = Duration::from_secs(5);

/// Settings of what is told besides metrics and logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Looking at it")]
pub struct Observing {
    /// Tell of activations and of limits that are met, as OpenWhisk's user events: as metrics by action, and in a
    /// cluster on Kafka's topic `events`
    #[arg(long, env = "WHISKER_USER_EVENTS")]
    pub user_events: bool,
    /// Collector for OpenTelemetry's traces (OTLP over HTTP), as http://HOST:PORT [default: none are made]
    #[arg(long, env = "WHISKER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<Endpoint>,
    /// Part of the traces that begin here which is kept; those that a client began are as it says
    #[arg(long, env = "WHISKER_TRACES_KEPT", default_value = "1")]
    pub traces_kept: f64,
}

/// Those who look on.
pub struct Observers {
    /// Who is told of what users do.
    pub events: Events,
    /// Who is told where time goes.
    pub tracer: Tracer,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Observers {
    /// As settings ask; `bus` is where events go, if there is anybody to tell.
    pub fn start(settings: &Observing, source: &str, bus: Option<Arc<dyn EventBus>>) -> anyhow::Result<Self> {
        ensure!((0.0..=1.0).contains(&settings.traces_kept), "--traces-kept is between 0 and 1");
        let (stop, mut tasks) = (CancellationToken::new(), Vec::new());
        let events = match (settings.user_events, bus) {
            (false, _) => Events::off(),
            (true, None) => Events::counted(),
            (true, Some(bus)) => {
                let (events, way) = Events::sent(source.to_owned());
                tasks.push(tokio::spawn(way.run(bus, stop.clone())));
                events
            }
        };
        let tracer = match &settings.otlp_endpoint {
            None => Tracer::off(),
            Some(endpoint) => {
                // Whether there is randomness is seen here, and not by the first request.
                getrandom::u64().context("no random numbers can be had")?;
                let version = env!("CARGO_PKG_VERSION");
                let (tracer, exporter) =
                    Exporter::new(endpoint.clone(), source.to_owned(), version, here(settings.traces_kept));
                tasks.push(tokio::spawn(exporter.run(stop.clone())));
                tracer
            }
        };
        Ok(Self { events, tracer, tasks, stop })
    }

    /// Sends what is left, for some seconds at most.
    pub async fn end(self) {
        self.stop.cancel();
        let until = tokio::time::Instant::now() + END;
        for task in self.tasks {
            if tokio::time::timeout_at(until, task).await.is_err() {
                tracing::warn!("the last user events or traces could not be sent in time");
            }
        }
    }
}

/// This process's clock and dice.
fn here(kept: f64) -> Where {
    let clock = || {
        #[expect(clippy::disallowed_methods, reason = "the wall clock of whoever is handed one")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    };
    let dice = || {
        let mut bytes = [0; 16];
        // Those that were there at the start do not run out.
        let _ = getrandom::fill(&mut bytes);
        u128::from_ne_bytes(bytes)
    };
    // Within the range that was checked.
    let kept_of_100_000 = (kept * 100_000.0) as u32;
    Where { clock: Box::new(clock), dice: Box::new(dice), kept_of_100_000 }
}
