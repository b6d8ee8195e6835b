//! Pulling images: one pull for all who want the same, so many at once.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time};

use crate::{
    Config, credentials,
    daemon::{Daemon, Failed},
    image::Image,
};

type Flight = Shared<BoxFuture<'static, Result<(), Arc<str>>>>;

/// Pulls of one daemon.
pub(crate) struct Pulls {
    parts: Arc<Parts>,
    /// Those under way, by image.
    flights: Arc<Mutex<HashMap<Image, Flight>>>,
}

struct Parts {
    daemon: Arc<Daemon>,
    places: Semaphore,
    limit: Duration,
    credentials: Option<PathBuf>,
}

impl Pulls {
    pub(crate) fn new(daemon: Arc<Daemon>, config: &Config) -> Pulls {
        let parts = Parts {
            daemon,
            places: Semaphore::new(config.pulls.max(1)),
            limit: config.pull_timeout,
            credentials: config.credentials.clone(),
        };
        Pulls { parts: Arc::new(parts), flights: Arc::default() }
    }

    /// Pulls an image, or waits for the pull of it that is under way. Goes on
    /// when the caller leaves: the next one will want it as well. An error is in
    /// words for the log.
    pub(crate) async fn pull(&self, image: &Image) -> Result<(), Arc<str>> {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.entry(image.clone()).or_insert_with(|| self.set_off(image.clone())).clone()
        };
        flight.await
    }

    fn set_off(&self, image: Image) -> Flight {
        let (parts, flights) = (self.parts.clone(), self.flights.clone());
        let pulling = tokio::spawn(async move {
            // Waits behind other images; never closed.
            let _place = parts.places.acquire().await;
            let pulled = match time::timeout(parts.limit, parts.pull(&image)).await {
                Ok(pulled) => pulled,
                Err(_) => Err(format!("not within {:?}", parts.limit)),
            };
            flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&image);
            pulled.map_err(Arc::from)
        });
        pulling.map(|ended| ended.unwrap_or_else(|_| Err("the pull was interrupted".into()))).boxed().shared()
    }
}

impl Parts {
    async fn pull(&self, image: &Image) -> Result<(), String> {
        let credentials = match self.credentials.clone() {
            None => None,
            Some(file) => {
                let image = image.clone();
                let found = spawn_blocking(move || credentials::find(&file, &image)).await;
                found
                    .unwrap_or_else(|_| Err("reading them was interrupted".to_owned()))
                    .map_err(|said| format!("the registries' credentials cannot be used: {said}"))?
            }
        };
        let options = CreateImageOptionsBuilder::new().from_image(&image.to_pull()).build();
        let mut progress = self.daemon.streams().create_image(Some(options), None, credentials);
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| Failed::from(error).to_string())?;
            if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                return Err(error);
            }
        }
        Ok(())
    }
}
