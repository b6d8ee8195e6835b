//! The side that faces clients, behind the door: the REST API and what goes on
//! beside its requests.

use std::{path::Path, sync::Arc};

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use whisker_admin::{Change, Parts};
use whisker_bus::Letters;
use whisker_controller::Controller;

/// A controller and its tasks.
pub struct Front {
    controller: Arc<Controller>,
    hearing: JoinHandle<()>,
    posting: JoinHandle<()>,
    administering: JoinHandle<()>,
    stop_posting: CancellationToken,
    stop_administering: CancellationToken,
}

impl Front {
    /// Starts what a controller needs besides requests.
    pub fn start(controller: Arc<Controller>, letters: Arc<dyn Letters>, data_dir: &Path, administered: Parts) -> Self {
        let (stop_posting, stop_administering) = (CancellationToken::new(), CancellationToken::new());
        let heard = controller.clone();
        let hearing = tokio::spawn(async move { heard.hear_changes().await });
        let administering = tokio::spawn(administer(data_dir, administered, &controller, stop_administering.clone()));
        let posting = tokio::spawn(controller.clone().post_letters(letters, stop_posting.clone()));
        Self { controller, hearing, posting, administering, stop_posting, stop_administering }
    }

    /// Once no more requests come: lets sequences and fires end until `grace`.
    pub async fn drain(&mut self, grace: Instant) {
        self.stop_posting.cancel();
        // One at a time is fired, and a fire that began ends among the sequences.
        let _ = tokio::time::timeout_at(grace, &mut self.posting).await;
        if tokio::time::timeout_at(grace, self.controller.close()).await.is_err() {
            tracing::warn!("sequences did not end in time: those that were accepted are recorded as interrupted");
        }
    }

    /// Ends what is left of it.
    pub async fn end(self) {
        self.stop_administering.cancel();
        let _ = self.administering.await;
        self.hearing.abort();
    }
}

/// Serves administrators, who ask through the data folder. Without a socket
/// there the server does its work all the same.
fn administer(
    data_dir: &Path,
    administered: Parts,
    controller: &Arc<Controller>,
    cancel: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let socket = whisker_admin::Socket::open(data_dir);
    let controller = controller.clone();
    async move {
        match socket {
            Ok(socket) => {
                let changed = move |change| match change {
                    Change::Nothing => {}
                    Change::Users => controller.forget_identities(),
                    Change::Everything => controller.forget_all(),
                };
                socket.run(administered, changed, cancel).await;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "users cannot be administered while this server runs");
            }
        }
    }
}
