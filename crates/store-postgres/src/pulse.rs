//! Whether the database is there, and what other servers changed in it.
//!
//! One connection of its own listens, and asks for a sign of life four times a
//! second. A database that was stopped closes its connections; one that hangs,
//! or a network that swallows everything, is only noticed by what does not
//! come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    task::JoinHandle,
    time::{Instant, interval, sleep, timeout},
};
use tokio_postgres::AsyncMessage;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    changes::{CHANNEL, News},
    error::Cause,
};

/// Time between two signs of life that are asked for.
const BETWEEN: Duration = Duration::from_millis(250);
/// How old the last sign may be while the database counts as there.
const FRESH: Duration = Duration::from_millis(750);
/// How long one may take before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// The feeling hand.
#[derive(Clone)]
pub(crate) struct Pulse {
    began: Instant,
    /// When the last sign came, in ms after `began`.
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// Begins to feel, on a connection that was just seen to work.
    pub(crate) fn start(
        database: tokio_postgres::Config,
        connector: MakeRustlsConnect,
        news: News,
    ) -> (Self, JoinHandle<()>) {
        let pulse = Self { began: Instant::now(), last_ms: Arc::default() };
        let task = tokio::spawn(pulse.clone().run(database, connector, news));
        (pulse, task)
    }

    /// Whether the database gave a sign lately.
    pub(crate) fn beats(&self) -> bool {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) < FRESH
    }

    fn beat(&self) {
        self.last_ms.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    async fn run(self, database: tokio_postgres::Config, connector: MakeRustlsConnect, news: News) {
        let mut was_away = false;
        loop {
            let cause = self.listen(&database, &connector, &news, &mut was_away).await;
            if !was_away {
                let error = &cause as &dyn std::error::Error;
                tracing::warn!(error, "the database is away: until it is back, other servers' changes are not heard");
            }
            was_away = true;
            sleep(PAUSE).await;
        }
    }

    /// Listens for as long as the connection lasts; why it ended.
    async fn listen(
        &self,
        database: &tokio_postgres::Config,
        connector: &MakeRustlsConnect,
        news: &News,
        was_away: &mut bool,
    ) -> Cause {
        let (client, mut connection) = match timeout(PATIENCE, database.connect(connector.clone())).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return error.into(),
            Err(_) => return Cause::other("it does not answer"),
        };
        let heard = news.clone();
        let driven = async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            loop {
                match messages.next().await {
                    Some(Ok(AsyncMessage::Notification(told))) if told.channel() == CHANNEL => {
                        heard.hear(told.payload())
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Cause::from(error),
                    None => return Cause::other("the connection was closed"),
                }
            }
        };
        let felt = async {
            if let Err(cause) = answered(client.batch_execute(&format!("LISTEN {CHANNEL}"))).await {
                return cause;
            }
            // Whatever was written before this was not heard.
            news.missed();
            if std::mem::take(was_away) {
                tracing::info!("the database is back");
            }
            let mut tick = interval(BETWEEN);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                match answered(client.batch_execute("SELECT")).await {
                    Ok(()) => self.beat(),
                    Err(cause) => return cause,
                }
            }
        };
        tokio::select! {
            cause = driven => cause,
            cause = felt => cause,
        }
    }
}

async fn answered(sign: impl Future<Output = Result<(), tokio_postgres::Error>>) -> Result<(), Cause> {
    match timeout(PATIENCE, sign).await {
        Ok(answer) => answer.map_err(Cause::from),
        Err(_) => Err(Cause::other("it does not answer")),
    }
}
