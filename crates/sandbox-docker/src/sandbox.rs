//! Making containers.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
};
use futures::{StreamExt as _, stream};
use tokio::{task::spawn_blocking, time};
use whisker_sandbox::{Container, Error, ImageFault, Sandbox, Start, image_of};

use crate::{
    Config, GATEWAY, PullPolicy, Unavailable,
    catalog::{Catalog, Made},
    client::Client,
    confine::{self, LABEL, Manners},
    container::DockerContainer,
    credentials,
    daemon::{Daemon, Failed, LONG, SHORT},
    keeper::{self, Body},
    network::Networking,
    output::Output,
    pull::Pulls,
    workshop::{Compiler, Workshop},
};

/// The port that every runtime listens on.
const PORT: u16 = 8080;

/// Containers of a Docker daemon. They outlive it only if it is killed, until
/// the next one sweeps.
pub struct DockerSandbox {
    parts: Arc<Parts>,
}

struct Parts {
    config: Arc<Config>,
    daemon: Arc<Daemon>,
    catalog: Catalog,
    pulls: Pulls,
    networking: Networking,
    workshop: Workshop,
    numbers: AtomicU64,
}

/// What an image says of itself.
struct Seen {
    /// Its name by its content.
    id: String,
    manners: Manners,
}

impl DockerSandbox {
    /// Looks for the daemon, and prepares the network.
    pub async fn connect(mut config: Config) -> Result<DockerSandbox, Unavailable> {
        let catalog = Catalog::read(&config).map_err(Unavailable::Manifest)?;
        if let Some(file) = &config.credentials {
            credentials::check(file).map_err(|said| Unavailable::Credentials { file: file.clone(), said })?;
        }
        let daemon = Arc::new(Daemon::connect(&config.host, config.calls).await?);
        let lost = |failed: Failed| Unavailable::Daemon { host: config.host.clone(), said: failed.to_string() };
        let info = daemon.call(SHORT, |docker| docker.info()).await.map_err(lost)?;
        if let Some(system) = info.os_type.filter(|system| system != "linux") {
            return Err(Unavailable::System(system));
        }
        if !info.security_options.unwrap_or_default().iter().any(|option| option.contains("seccomp")) {
            tracing::warn!("the Docker daemon filters no system calls: its containers are isolated less well");
        }
        let networking = Networking::prepare(&daemon, &config).await?;
        let gateway = networking.gateway.unwrap_or(Ipv4Addr::LOCALHOST).to_string();
        config.environment.values_mut().for_each(|value| *value = value.replace(GATEWAY, &gateway));
        let pulls = Pulls::new(daemon.clone(), &config);
        let (config, shared) = (Arc::new(config), daemon.clone());
        let opened = config.clone();
        let workshop = spawn_blocking(move || Workshop::open(&opened, &shared)).await;
        let workshop = workshop
            .unwrap_or_else(|ended| Err(io::Error::other(ended)))
            .map_err(|source| Unavailable::Folder { folder: config.artifacts.clone(), source })?;
        let parts = Parts { config, daemon, catalog, pulls, networking, workshop, numbers: AtomicU64::new(0) };
        Ok(DockerSandbox { parts: Arc::new(parts) })
    }

    /// Leaves nothing in the daemon, its network neither, which else stays for the
    /// next life. For who was only trying, and has no containers.
    pub async fn take_apart(self) {
        if let Err(failed) = self.parts.networking.remove(&self.parts.daemon).await {
            tracing::warn!(error = %failed, "a network that was tried stays in the Docker daemon");
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error> {
        let made = self.parts.catalog.image(&start.kind).ok_or_else(|| Error::Unavailable {
            kind: start.kind.clone(),
            reason: "the manifest has no such kind".to_owned(),
        })?;
        let pulled = self.parts.have(&made).await?;
        let parts = self.parts.clone();
        // Seen through even if the caller goes away: what was made by then has
        // to be removed by someone.
        let started = tokio::spawn(async move { parts.make(&made, &start, pulled).await });
        started.await.unwrap_or_else(|ended| Err(Error::host("start a container")(io::Error::other(ended))))
    }

    async fn sweep(&self) -> Result<(), Error> {
        let parts = &self.parts;
        let label = format!("{LABEL}={}", parts.config.instance);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = parts.daemon.call(LONG, |docker| docker.list_containers(Some(options))).await;
        let leftovers = listed.map_err(Failed::host("list containers of a former life"))?;
        // As many at once as calls are allowed.
        let removals = stream::iter(leftovers.into_iter().filter_map(|container| container.id))
            .map(|id| async move { (keeper::remove(&parts.daemon, &id).await, id) })
            .buffer_unordered(parts.config.calls.max(1));
        let mut removals = std::pin::pin!(removals);
        while let Some((removed, id)) = removals.next().await {
            if let Err(failed) = removed {
                tracing::warn!(container = id, error = %failed, "a container of a former life could not be removed");
            }
        }
        Ok(())
    }
}

impl Parts {
    /// Sees to it that the image is there, as the policy says. `false`: nobody
    /// looked, or the pull failed and there may be an older copy.
    async fn have(&self, made: &Made) -> Result<bool, Error> {
        let image = &made.image;
        if !made.foreign || self.config.pull == PullPolicy::Missing || image.has_digest() {
            return Ok(false);
        }
        match self.pulls.pull(image).await {
            Ok(()) => Ok(true),
            Err(said) if image.is_latest() => {
                tracing::warn!(%image, %said, "an image could not be pulled");
                Err(Error::Image(ImageFault::NotPulled(image.to_string())))
            }
            Err(said) => {
                tracing::warn!(%image, %said, "an image could not be pulled; an older copy is used if there is one");
                Ok(false)
            }
        }
    }

    /// What the image says of itself; pulls it if it is not there.
    async fn look_at(&self, made: &Made, start: &Start, pulled: bool) -> Result<Seen, Error> {
        let image = &made.image;
        for attempt in 0.. {
            let seen = self.daemon.call(SHORT, |docker| docker.inspect_image(image.as_str())).await;
            match seen {
                Ok(seen) => {
                    let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
                    let id = seen.id.unwrap_or_else(|| image.to_string());
                    return Ok(Seen { id, manners: Manners::read(&labels) });
                }
                Err(failed) if failed.is_missing() && attempt == 0 && !pulled => {
                    if let Err(said) = self.pulls.pull(image).await {
                        tracing::warn!(%image, %said, "an image is missing and could not be pulled");
                        return Err(self.not_pulled(made, start));
                    }
                }
                Err(failed) if failed.is_missing() => return Err(self.not_pulled(made, start)),
                Err(failed) => return Err(Failed::host("look at an image")(failed)),
            }
        }
        Err(self.not_pulled(made, start))
    }

    /// A user's image is their mistake; one of the manifest's is the operator's.
    fn not_pulled(&self, made: &Made, start: &Start) -> Error {
        let image = made.image.to_string();
        if made.foreign {
            return Error::Image(ImageFault::NotPulled(image));
        }
        let language = match image_of(&start.kind) {
            Some(_) => "native",
            None => start.kind.split(':').next().unwrap_or_default(),
        };
        let reason = format!(
            "its image {image} is neither here nor could it be pulled; `make images LANGUAGES={language}` builds ours, \
             and --docker-image-prefix and --docker-image-tag say which is taken"
        );
        Error::Unavailable { kind: start.kind.clone(), reason }
    }

    async fn make(&self, made: &Made, start: &Start, pulled: bool) -> Result<Arc<dyn Container>, Error> {
        let Seen { id: image, manners } = self.look_at(made, start, pulled).await?;
        let body = confine::body(&self.config, &made.image, &self.networking.name, start, manners);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // A former life may have left its own behind: names are this life's.
        let name = format!("whisker-{}-{}-{number}", self.config.instance, std::process::id());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self.daemon.call(LONG, |docker| docker.create_container(Some(options), body)).await;
        let id = created.map_err(|failed| self.not_created(made, failed))?.id;
        let output = Output::new(self.config.log_cap_bytes, manners.frames);
        let body = Body::new(self.daemon.clone(), id.clone(), output);
        match self.begin(&body, &id).await {
            Ok(address) => {
                let client = Client::new(address.map(|address| SocketAddr::new(address, PORT)));
                let recipe = made.recipe.clone().filter(|_| manners.compiles);
                let source = recipe.map(|recipe| (self.workshop.clone(), Compiler { image, recipe }));
                let sentinels = manners.frames || !made.foreign;
                Ok(Arc::new(DockerContainer::new(body, client, sentinels, manners.takes_bytes, source)))
            }
            Err(failed) => {
                body.bury();
                Err(match failed {
                    // As daemons answer where the program of an image is not
                    // there or may not be run.
                    Failed::Refused { status: 400, message } if made.foreign => {
                        tracing::warn!(image = %made.image, %message, "an image could not be started");
                        Error::Image(ImageFault::NoCommand(made.image.to_string()))
                    }
                    failed => Failed::host("start a container")(failed),
                })
            }
        }
    }

    /// Why there is no container. An image that names nothing to start is as good
    /// as any to a daemon until then.
    fn not_created(&self, made: &Made, failed: Failed) -> Error {
        match failed {
            Failed::Refused { status: 400 | 500, message }
                if made.foreign && message.to_lowercase().contains("no command specified") =>
            {
                tracing::warn!(image = %made.image, %message, "an image has nothing to start");
                Error::Image(ImageFault::Nothing(made.image.to_string()))
            }
            failed => Failed::host("create a container")(failed),
        }
    }

    /// Starts what was created, with someone to listen from its first word on;
    /// its address, unless it ended at once.
    async fn begin(&self, body: &Arc<Body>, id: &str) -> Result<Option<IpAddr>, Failed> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached = time::timeout(LONG, self.daemon.streams().attach_container(id, Some(options))).await;
        let attached = attached.map_err(|_| Failed::TimedOut(LONG))??;
        // These end with the container, which ends with its handle.
        tokio::spawn(body.clone().read_output(attached));
        self.daemon.call(LONG, |docker| docker.start_container(id, None)).await?;
        tokio::spawn(body.clone().watch());
        let seen = body.inspect().await?;
        let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.values().filter_map(|network| network.ip_address.as_ref()?.parse().ok()).next();
        let running = seen.state.and_then(|state| state.running).unwrap_or(false);
        match address {
            Some(address) => Ok(Some(address)),
            // Whoever wants to run something in it will hear of that.
            None if !running => Ok(None),
            None => Err(Failed::Refused { status: 500, message: "the container has no address".to_owned() }),
        }
    }
}
