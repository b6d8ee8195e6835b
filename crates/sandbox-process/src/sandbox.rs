//! Making containers.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use whisker_artifacts::{Artifacts, Failure};
use whisker_sandbox::{Container, Error, Sandbox, Start};

use crate::{
    Config, Network, Unavailable, bwrap,
    catalog::{Catalog, Launch, MANIFEST, Recipe},
    cgroup::{self, Group, Groups, Hierarchies},
    container::{Action, ProcessContainer, Source},
    host::Host,
    intake::Intake,
    keeper::{self, Belongings, Body},
    network::{Lease, Networks},
    numbers::{Number, Numbers},
    pipes, spawn,
    thread::Maker,
    unavailable::find_program,
    workshop::{self, Workshop},
};

/// Where a process about to become a container finds our folder, when its
/// user may not walk there: mounted over `/tmp`, which exists everywhere and
/// which bubblewrap replaces anyway.
const STAGE: &std::ffi::CStr = c"/tmp";

/// More containers than that at once are refused.
const MOST_USERS: u32 = 65_536;

/// Open files and sockets of one container; OpenWhisk's number.
const OPEN_FILES: u64 = 1024;

/// Sandboxed processes on this host. Containers do not outlive it.
pub struct ProcessSandbox {
    parts: Arc<Parts>,
    maker: Maker,
    workshop: Workshop,
}

/// What starting a container takes.
pub(crate) struct Parts {
    pub config: Config,
    host: Host,
    catalog: Catalog,
    isolation: Option<Isolation>,
    numbers: AtomicU64,
}

/// What isolating a container takes.
struct Isolation {
    bubblewrap: PathBuf,
    groups: Groups,
    /// Users to be had, if the server is root.
    users: Option<Numbers>,
    networks: Networks,
}

/// A container that was made, before the runtime hears of it.
pub(crate) struct Made {
    pub child: spawn::Child,
    pub group: Option<Group>,
    pub belongings: Belongings,
    pub action: Action,
}

/// What goes into a container that is a program of ours to begin with.
struct Order<'a> {
    /// Interpreter, its arguments, the script and the script's.
    command: Vec<String>,
    environment: Vec<(String, String)>,
    memory_mb: u32,
    descriptors: Vec<(BorrowedFd<'a>, i32)>,
    /// Whether its network is an empty one, rather than a lease or the host's.
    offline: bool,
    /// A folder that moves in as its code, if that is known already.
    source: Option<&'a Path>,
    /// What it finds at `/prepared`.
    prepared: Option<&'a Path>,
}

/// What a compiler's container is made of.
pub(crate) struct Build {
    pub recipe: Recipe,
    pub main: String,
    /// A folder that moves into the container.
    pub source: Option<PathBuf>,
    pub prepared: Option<PathBuf>,
    /// Its descriptor 3.
    pub tar: OwnedFd,
    /// Its standard output and error.
    pub said: OwnedFd,
}

impl ProcessSandbox {
    /// Looks at what the host offers, prepares the sandbox's folder and
    /// cgroups, and tries the isolation once. Blocks for some milliseconds.
    pub fn new(config: Config) -> Result<ProcessSandbox, Unavailable> {
        let root = rustix::process::geteuid().is_root();
        let seen_at = (root && !config.insecure_no_sandbox).then(|| Path::new("/tmp"));
        let host = Host::prepare(&config.folder, seen_at)
            .map_err(|source| Unavailable::Folder { folder: config.folder.clone(), source })?;
        let isolation = if config.insecure_no_sandbox {
            tracing::warn!(
                "running WITHOUT isolation: every function can read, write and reach all that this server can"
            );
            None
        } else {
            Some(Isolation::find(&config, &host, root)?)
        };
        let catalog = Catalog::read(MANIFEST)
            .map_err(io::Error::from)
            .map_err(|source| Unavailable::Host { what: "read the manifest of runtimes", source })?;
        let maker = Maker::start("sandbox").map_err(|source| Unavailable::Host { what: "start a thread", source })?;
        maker.post(|| {
            if let Err(error) = spawn::take_short_turns() {
                tracing::debug!(%error, "containers take turns of the usual length");
            }
        });
        let parts = Parts { config, host, catalog, isolation, numbers: AtomicU64::new(0) };
        let parts = Arc::new(parts);
        parts.try_isolation()?;
        let folder = parts.host.artifacts();
        let artifacts = Artifacts::open(&folder, parts.config.artifact_bytes)
            .map_err(|source| Unavailable::Folder { folder, source })?;
        let workshop = Workshop::new(parts.clone(), maker.clone(), artifacts);
        Ok(ProcessSandbox { parts, maker, workshop })
    }

    /// How a kind would run here: the interpreter that was found, or why it
    /// cannot, or not from source. Runs programs once to see their versions:
    /// blocks.
    pub fn look_for(&self, kind: &str) -> Result<PathBuf, String> {
        if let Some(lacking) = self.parts.catalog.lacking(kind) {
            return Err(lacking);
        }
        self.parts.catalog.launch(kind).map(|launch| launch.command.into_iter().next().unwrap_or_default().into())
    }
}

/// Makes launchers and compilers ready that someone will need. Whoever needs one
/// meanwhile waits for what is being made.
async fn prepare(parts: Arc<Parts>, workshop: Workshop) {
    for kind in &parts.config.prepare {
        let (parts, name) = (parts.clone(), kind.clone());
        let launch = tokio::task::spawn_blocking(move || parts.catalog.launch(&name)).await;
        let launch = match launch {
            Ok(Ok(launch)) => launch,
            Ok(Err(reason)) => {
                tracing::warn!(kind, reason, "a kind that was to be prepared cannot run here");
                continue;
            }
            Err(error) => {
                tracing::warn!(kind, %error, "looking for a kind's interpreter was interrupted");
                continue;
            }
        };
        for recipe in launch.prepared() {
            match workshop.prepared(recipe).await {
                Ok(_) => tracing::debug!(kind, recipe = recipe.script, "prepared"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        kind,
                        recipe = recipe.script,
                        error,
                        "a kind could not be prepared; its first container will try again"
                    );
                }
            }
        }
    }
}

impl Isolation {
    fn find(config: &Config, host: &Host, root: bool) -> Result<Isolation, Unavailable> {
        let bubblewrap = find_program("bwrap").ok_or(Unavailable::Bubblewrap)?;
        let hierarchies =
            Hierarchies::discover().map_err(|source| Unavailable::Host { what: "list the mounted cgroups", source })?;
        let instance = instance_name(host.root());
        let groups = Groups::prepare(&hierarchies, &config.cgroup_parent, &instance)
            .map_err(|lacking| Unavailable::Cgroups { lacking, root })?;
        let networks = Networks::prepare(&config.network, &instance, root)?;
        let users = root.then(|| Numbers::below(MOST_USERS));
        Ok(Isolation { bubblewrap, groups, users, networks })
    }
}

/// Tells this sandbox's cgroups and network interfaces from another's: eight
/// digits, from its folder.
fn instance_name(folder: &Path) -> String {
    let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Sandbox for ProcessSandbox {
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error> {
        let parts = self.parts.clone();
        let kind = start.kind.clone();
        let launch = if parts.catalog.is_known(&kind) {
            parts.catalog.launch(&kind)
        } else {
            let parts = parts.clone();
            let looked = tokio::task::spawn_blocking(move || parts.catalog.launch(&kind)).await;
            looked.unwrap_or_else(|_| Err("looking for its interpreter was interrupted".to_owned()))
        };
        let launch = launch.map_err(|reason| Error::Unavailable { kind: start.kind.clone(), reason })?;
        let prepared = match &launch.prepare {
            Some(recipe) => Some(self.workshop.prepared(recipe).await.map_err(|failure| match failure {
                Failure::Host(error) => {
                    Error::host("prepare a launcher")(io::Error::new(error.kind(), error.to_string()))
                }
                Failure::Refused(refusal) => {
                    let reason =
                        format!("its launcher could not be made: {} {}", refusal.words, refusal.details.trim());
                    Error::Unavailable { kind: start.kind.clone(), reason }
                }
            })?),
            None => None,
        };

        let network = match &parts.isolation {
            Some(isolation) => {
                isolation.networks.take().await.map_err(Error::host("make a network for a container"))?
            }
            None => None,
        };
        let user = match parts.isolation.as_ref().and_then(|isolation| isolation.users.as_ref()) {
            Some(users) => Some(
                users
                    .take()
                    .ok_or(io::ErrorKind::QuotaExceeded.into())
                    .map_err(Error::host("find a free user for a container"))?,
            ),
            None => None,
        };
        let (pipes, ends) =
            pipes::make(user.as_ref().map(|user| parts.user_id(user))).map_err(Error::host("make pipes"))?;
        let (maker, workshop) = (self.maker.clone(), self.workshop.clone());
        // Seen through even if the caller goes away: what was made by then is
        // a process with belongings, for which only a keeper cares.
        let started = tokio::spawn(async move {
            let Start { memory_mb, concurrent, .. } = start;
            let made = {
                let (parts, launch) = (parts.clone(), launch.clone());
                let folder = prepared.map(|held| held.folder().to_owned());
                maker.run(move || parts.make(&launch, memory_mb, user, network, folder.as_deref(), ends)).await
            };
            let made = made.and_then(|made| made).map_err(Error::host("start a container"))?;
            let body = Body::adopt(made.child, made.group, made.belongings).await;
            let body = body.map_err(Error::host("watch a container"))?;
            // Ends with the container, which ends when its handle is dropped.
            tokio::spawn(keeper::keep(body.clone()));
            let intake = Intake::new(parts.config.log_cap_bytes);
            let code = Source { launch, workshop, copies: parts.isolation.is_none() };
            Ok(Arc::new(ProcessContainer::new(pipes, intake, body, concurrent, made.action, code)) as _)
        });
        started.await.unwrap_or_else(|ended| Err(Error::host("start a container")(io::Error::other(ended))))
    }

    async fn sweep(&self) -> Result<(), Error> {
        if let Some(isolation) = &self.parts.isolation {
            for group in isolation.groups.leftovers() {
                group.kill();
                if !group.remove().await {
                    tracing::warn!(container = group.name(), "processes of a former life could not be killed");
                }
            }
        }
        let parts = self.parts.clone();
        let swept = tokio::task::spawn_blocking(move || parts.host.sweep()).await;
        let swept = swept
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(Error::host("remove folders of a former life"));
        // Not before: what it works in would be swept away. It ends by itself; a
        // server that ends first takes it along.
        if !self.parts.config.prepare.is_empty() {
            tokio::spawn(prepare(self.parts.clone(), self.workshop.clone()));
        }
        swept
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(isolation) = &self.isolation {
            isolation.groups.remove();
        }
    }
}

impl Parts {
    /// Makes a container. Runs on the maker's thread.
    fn make(
        &self,
        launch: &Launch,
        memory_mb: u32,
        user: Option<Number>,
        network: Option<Lease>,
        prepared: Option<&Path>,
        ends: pipes::Ends,
    ) -> io::Result<Made> {
        let launcher = format!("/runtimes/{}", launch.launcher);
        let order = Order {
            command: launch.command(memory_mb).chain([launcher]).collect(),
            environment: self.environment(launch.environment.iter().chain(&self.config.environment)),
            memory_mb,
            descriptors: vec![
                (ends.orders.as_fd(), 0),
                (ends.stdout.as_fd(), 1),
                (ends.stderr.as_fd(), 2),
                (ends.frames.as_fd(), 3),
            ],
            offline: self.config.network == Network::None,
            source: None,
            prepared,
        };
        self.make_ordered(&order, user, network)
    }

    /// Makes a container in which a recipe is followed. Runs on the maker's
    /// thread.
    pub(crate) fn make_build(&self, build: &Build) -> io::Result<Made> {
        let user = self.isolation.as_ref().and_then(|isolation| isolation.users.as_ref());
        let user = user.map(|users| users.take().ok_or(io::ErrorKind::QuotaExceeded)).transpose()?;
        let Build { recipe, main, source, prepared, tar, said } = build;
        let nothing = File::open("/dev/null")?;
        let script = format!("/runtimes/{}", recipe.script);
        let words = ["/bin/sh", &script, &recipe.program, "/action", "/prepared", main];
        let order = Order {
            command: words.map(str::to_owned).into(),
            environment: self.environment(recipe.environment.iter()),
            memory_mb: recipe.memory_mb,
            descriptors: vec![(nothing.as_fd(), 0), (said.as_fd(), 1), (said.as_fd(), 2), (tar.as_fd(), 3)],
            offline: true,
            source: source.as_deref(),
            prepared: prepared.as_deref(),
        };
        self.make_ordered(&order, user, None)
    }

    fn make_ordered(&self, order: &Order<'_>, user: Option<Number>, network: Option<Lease>) -> io::Result<Made> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let made = self.make_numbered(number, order, user, network);
        if made.is_err() {
            // Starts are tried again, and the next sweep may be far away.
            let _ = fs::remove_dir_all(self.host.container(number));
        }
        made
    }

    fn make_numbered(
        &self,
        number: u64,
        order: &Order<'_>,
        user: Option<Number>,
        network: Option<Lease>,
    ) -> io::Result<Made> {
        let owner = user.as_ref().map(|user| self.user_id(user));
        let folder = self.host.make_container(number, owner)?;
        if let Some(source) = order.source {
            fs::rename(source, &folder)?;
        }
        let prepared = match order.prepared {
            Some(from) => {
                let to = self.host.make_prepared(number)?;
                workshop::share(from, &to, self.isolation.is_none())?;
                Some(to)
            }
            None => None,
        };
        let belongings = Belongings { folder: self.host.container(number), user, network };
        let Some(isolation) = &self.isolation else {
            let child = self.spawn_plainly(order, &folder, prepared.as_deref())?;
            let inside = folder.to_string_lossy().into_owned();
            return Ok(Made { child, group: None, belongings, action: Action { folder, inside } });
        };
        let limits = cgroup::Limits { memory_mb: order.memory_mb, processes: self.config.processes };
        let group = isolation.groups.create(number.to_string(), limits)?;
        let view = self.view(&folder, prepared.as_deref(), order);
        let spawned =
            self.spawn_isolated(isolation, &view, &order.environment, &order.descriptors, &group, &belongings);
        match spawned {
            Ok(child) => {
                let action = Action { folder, inside: "/action".to_owned() };
                Ok(Made { child, group: Some(group), belongings, action })
            }
            Err(error) => {
                group.remove_empty();
                Err(error.into_io())
            }
        }
    }

    /// What a container sees of this host, its code being in `folder`.
    fn view<'a>(&'a self, folder: &Path, prepared: Option<&Path>, order: &'a Order<'_>) -> bwrap::View<'a> {
        bwrap::View {
            etc: self.host.as_seen(&self.host.root().join("etc")),
            runtimes: self.host.as_seen(&self.host.runtimes()),
            action: self.host.as_seen(folder),
            prepared: prepared.map(|folder| self.host.as_seen(folder)),
            modules: self.host.modules(),
            read_only: &self.config.read_only,
            // Memory files count as memory of the container. Half of it, so that
            // a full disk is met before an exhausted memory.
            tmp_bytes: u64::from(order.memory_mb) << 19,
            unshare_network: order.offline,
            command: &order.command,
        }
    }

    fn spawn_isolated(
        &self,
        isolation: &Isolation,
        view: &bwrap::View<'_>,
        environment: &[(String, String)],
        descriptors: &[(BorrowedFd<'_>, i32)],
        group: &Group,
        belongings: &Belongings,
    ) -> Result<spawn::Child, spawn::Failed> {
        let filters = self.host.filters()?;
        let mut descriptors = descriptors.to_vec();
        descriptors.extend(filters.iter().map(|filter| filter.as_fd()).zip(bwrap::SECCOMP_DESCRIPTORS));
        let doors = group.doors()?;
        let user = belongings.user.as_ref().map(|user| self.user_id(user));
        let plan = spawn::Plan {
            program: CString::new(isolation.bubblewrap.as_os_str().as_encoded_bytes())?,
            arguments: bwrap::arguments(view)?,
            environment: environment_block(environment)?,
            descriptors,
            groups: doors.tasks.iter().map(|door| door.as_fd()).collect(),
            birthplace: doors.birthplace.as_ref().map(|folder| folder.as_fd()),
            network: belongings.network.as_ref().and_then(Lease::handle),
            stage: match user {
                Some(_) => Some((CString::new(self.host.root().as_os_str().as_encoded_bytes())?, STAGE)),
                None => None,
            },
            user,
            limits: vec![(libc::RLIMIT_NOFILE, OPEN_FILES), (libc::RLIMIT_CORE, 0)],
            new_session: false,
            // bubblewrap sees to that itself.
            die_with_parent: false,
        };
        spawn::spawn(&plan)
    }

    /// Without isolation: a process group, a few limits, and that is all.
    /// There is no root of its own, so words that name a place in it become
    /// those of the places on the host.
    fn spawn_plainly(&self, order: &Order<'_>, action: &Path, prepared: Option<&Path>) -> io::Result<spawn::Child> {
        let runtimes = self.host.runtimes();
        let places = [("/runtimes", Some(&*runtimes)), ("/action", Some(action)), ("/prepared", prepared)];
        let on_host = |word: &String| {
            let place = places.iter().find_map(|(inside, outside)| Some((word.strip_prefix(inside)?, (*outside)?)));
            place.map_or_else(|| word.clone(), |(rest, outside)| format!("{}{rest}", outside.display()))
        };
        let words: Result<Vec<CString>, _> = order.command.iter().map(on_host).map(CString::new).collect();
        let words = words?;
        let plan = spawn::Plan {
            program: words.first().cloned().unwrap_or_default(),
            arguments: words,
            environment: environment_block(&order.environment)?,
            descriptors: order.descriptors.clone(),
            groups: Vec::new(),
            birthplace: None,
            network: None,
            stage: None,
            user: None,
            limits: vec![(libc::RLIMIT_NOFILE, OPEN_FILES), (libc::RLIMIT_CORE, 0)],
            new_session: true,
            die_with_parent: true,
        };
        spawn::spawn(&plan).map_err(spawn::Failed::into_io)
    }

    /// The host user of a container.
    fn user_id(&self, number: &Number) -> u32 {
        self.config.first_user.saturating_add(number.value())
    }

    /// What every program of ours finds in its environment, and `more`.
    fn environment<'a>(&self, more: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<(String, String)> {
        let basic = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
        ];
        let basic = basic.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        basic.chain(more.map(|(name, value)| (name.clone(), value.clone()))).collect()
    }

    /// Runs `true` in a sandbox, so that a host which forbids it is noticed
    /// when the server starts and not when a function is called.
    fn try_isolation(&self) -> Result<(), Unavailable> {
        let Some(isolation) = &self.isolation else { return Ok(()) };
        let fail = |what| move |source| Unavailable::Host { what, source };
        let (_orders, orders) = rustix::pipe::pipe().map_err(io::Error::from).map_err(fail("make a pipe"))?;
        let (complaint, stderr) = rustix::pipe::pipe().map_err(io::Error::from).map_err(fail("make a pipe"))?;
        let user = isolation.users.as_ref().and_then(Numbers::take);
        let owner = user.as_ref().map(|user| self.user_id(user));
        let folder = self.host.make_container(u64::MAX, owner).map_err(fail("make a folder"))?;
        let belongings = Belongings { folder: self.host.container(u64::MAX), user, network: None };
        let limits = cgroup::Limits { memory_mb: 64, processes: self.config.processes };
        let refused =
            |source| Unavailable::Cgroups { lacking: cgroup::Lacking::Limits(source), root: isolation.users.is_some() };
        let group = isolation.groups.create("trial".to_owned(), limits).map_err(refused)?;
        let order = Order {
            command: vec!["/usr/bin/true".to_owned()],
            environment: Vec::new(),
            memory_mb: limits.memory_mb,
            descriptors: vec![(orders.as_fd(), 0), (orders.as_fd(), 1), (stderr.as_fd(), 2)],
            offline: self.config.network == Network::None,
            source: None,
            prepared: None,
        };
        let view = self.view(&folder, None, &order);
        let spawned = self.spawn_isolated(isolation, &view, &[], &order.descriptors, &group, &belongings);
        drop((orders, stderr));
        let said = match spawned {
            Ok(child) => {
                let said = io::read_to_string(io::BufReader::new(std::fs::File::from(complaint)));
                spawn::wait(&child.handle);
                said.unwrap_or_default().trim().to_owned()
            }
            Err(failed) if failed.is_about_groups() => {
                group.remove_empty();
                let lacking = cgroup::Lacking::Joining(failed.source);
                return Err(Unavailable::Cgroups { lacking, root: isolation.users.is_some() });
            }
            Err(failed) => format!("{failed}: {}", failed.source),
        };
        group.remove_empty();
        let _ = fs::remove_dir_all(&belongings.folder);
        if said.is_empty() { Ok(()) } else { Err(Unavailable::Trial { said }) }
    }
}

fn environment_block(environment: &[(String, String)]) -> Result<Vec<CString>, std::ffi::NulError> {
    environment.iter().map(|(name, value)| CString::new(format!("{name}={value}"))).collect()
}
