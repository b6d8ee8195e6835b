//! The watch: blocking queries, and a ping a second of what they say.

use std::{sync::Arc, time::Duration};

use http::Method;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use whisker_bus::{News, NewsSink};

use crate::{
    Config, Error, INVOKERS,
    client::{Client, PATIENCE},
    members::Members,
};

/// As often as invokers ping on the bus.
const PERIOD: Duration = Duration::from_secs(1);
/// What Consul adds to a wait at most, so that not all come back at once: a
/// sixteenth.
const JITTER: u32 = 16;

/// Follows the invokers.
pub struct Watch {
    client: Client,
    config: Config,
}

/// What a query said.
type Heard = Result<Vec<u8>, Error>;

impl Watch {
    /// Asks nothing yet.
    pub fn new(config: Config) -> Self {
        Self { client: Client::new(&config), config }
    }

    /// Tells `sink` of the invokers until cancelled.
    pub async fn run(self, sink: Arc<dyn NewsSink>, cancel: CancellationToken) {
        // One answer waits while another is looked at; more are not asked for.
        let (sender, mut answers) = mpsc::channel::<Heard>(1);
        let stale = self.config.stale;
        let asking = self.ask(sender);
        tokio::pin!(asking);
        let mut members = Members::default();
        // Since when it does not answer.
        let mut failing: Option<Instant> = None;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = &mut asking => return,
                answer = answers.recv() => match answer.map(|answer| answer.map(|body| members.heard(&body))) {
                    None => return,
                    Some(Ok(Ok(lost))) => {
                        failing = None;
                        let told = lost.into_iter().chain(members.pings().cloned());
                        told.for_each(|ping| sink.heard(News::Invoker(ping)));
                    }
                    Some(Ok(Err(error))) => warn(&mut failing, &Error::Nonsense(error.into())),
                    Some(Err(error)) => warn(&mut failing, &error),
                },
                _ = ticks.tick() => {
                    // While a query waits, nothing new is no failure.
                    if failing.is_none_or(|since| since.elapsed() < stale) {
                        members.pings().cloned().for_each(|ping| sink.heard(News::Invoker(ping)));
                    }
                }
            }
        }
    }

    /// Asks again and again, each time for what is newer than the last answer.
    async fn ask(self, answers: mpsc::Sender<Heard>) {
        let mut index = 0;
        loop {
            let asked = self.query(index).await;
            let heard = match asked {
                Ok((new, body)) => {
                    // One that goes back was made anew (a restored snapshot).
                    index = if new < index { 0 } else { new };
                    Ok(body)
                }
                Err(error) => {
                    index = 0;
                    Err(error)
                }
            };
            let failed = heard.is_err();
            if answers.send(heard).await.is_err() {
                return;
            }
            if failed {
                sleep(self.config.retry).await;
            }
        }
    }

    async fn query(&self, index: u64) -> Result<(u64, Vec<u8>), Error> {
        let wait = self.config.wait;
        let target = format!("/v1/health/service/{INVOKERS}?index={index}&wait={}s", wait.as_secs().max(1));
        let answer = self.client.ask(Method::GET, &target, Vec::new(), wait + wait / JITTER + PATIENCE).await?;
        let new = answer.headers.get("x-consul-index").and_then(|value| value.to_str().ok()?.parse().ok());
        // An answer without one would be asked for again at once.
        let new = new.filter(|new| *new > 0).ok_or_else(|| Error::Nonsense("there is no index".into()))?;
        Ok((new, answer.body.to_vec()))
    }
}

/// An outage is one line in the log.
fn warn(failing: &mut Option<Instant>, error: &Error) {
    if failing.is_none() {
        *failing = Some(Instant::now());
        tracing::warn!(error = error as &dyn std::error::Error, "Consul cannot be asked for the invokers");
    }
}
