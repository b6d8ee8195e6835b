//! What making a container takes, and how it is put together: its folder, user,
//! network, groups and view of the world, and then the process.

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

use sha2::{Digest, Sha256};
use whisker_sandbox::Error;

use crate::{
    Config, Network, Unavailable, bwrap,
    catalog::{Catalog, Launch, MANIFEST, Recipe},
    cgroup::{self, Group, Groups, Hierarchies},
    container::Action,
    host::Host,
    keeper::{Belongings, Body},
    network::{Lease, Networks},
    numbers::{Number, Numbers},
    pipes::{self, Pipes},
    spares::WAITER,
    spawn,
    thread::Maker,
    unavailable::find_program,
    workshop,
};

/// Where a process about to become a container finds our folder, when its
/// user may not walk there: mounted over `/tmp`, which exists everywhere and
/// which bubblewrap replaces anyway.
const STAGE: &std::ffi::CStr = c"/tmp";

/// More containers than that at once are refused.
const MOST_USERS: u32 = 65_536;

/// Open files and sockets of one container; OpenWhisk's number.
const OPEN_FILES: u64 = 1024;

/// What starting a container takes.
pub(crate) struct Parts {
    pub config: Config,
    pub host: Host,
    pub catalog: Catalog,
    pub isolation: Option<Isolation>,
    /// The next container's.
    numbers: AtomicU64,
}

/// What isolating a container takes.
pub(crate) struct Isolation {
    bubblewrap: PathBuf,
    pub groups: Groups,
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
    /// Its `/prepared`, if it has one.
    pub prepared: Option<PathBuf>,
}

/// A container with its first process in it, which is watched.
pub(crate) struct Raised {
    pub pipes: Pipes,
    pub body: Arc<Body>,
    pub action: Action,
    pub prepared: Option<PathBuf>,
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
    prepared: Prepared<'a>,
}

/// What a container finds at `/prepared`.
enum Prepared<'a> {
    Nothing,
    /// What is in this folder.
    Shared(&'a Path),
    /// What will be put there.
    Later,
}

impl<'a> From<Option<&'a Path>> for Prepared<'a> {
    fn from(folder: Option<&'a Path>) -> Prepared<'a> {
        folder.map_or(Prepared::Nothing, Prepared::Shared)
    }
}

/// What a container has before there is one.
pub(crate) struct Outfit {
    network: Option<Lease>,
    user: Option<Number>,
    ends: pipes::Ends,
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

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(isolation) = &self.isolation {
            isolation.groups.remove();
        }
        // Spare ones may have had nobody left to remove them.
        if let Err(error) = self.host.remove_containers() {
            tracing::warn!(%error, "containers' folders stay until the next start");
        }
    }
}

impl Raised {
    /// Makes a container on the maker's thread.
    pub(crate) async fn new(
        parts: &Arc<Parts>,
        maker: &Maker,
        make: impl FnOnce(&Parts, Outfit) -> io::Result<Made> + Send + 'static,
    ) -> Result<Raised, Error> {
        let (outfit, pipes) = parts.outfit().await?;
        let made = {
            let parts = parts.clone();
            maker.run(move || make(&parts, outfit)).await
        };
        let made = made.and_then(|made| made).map_err(Error::host("start a container"))?;
        let Made { child, group, belongings, action, prepared } = made;
        let body = Body::adopt(child, group, belongings).await.map_err(Error::host("watch a container"))?;
        Ok(Raised { pipes, body, action, prepared })
    }
}

impl Parts {
    /// Looks at what the host offers, and prepares the sandbox's folder and
    /// cgroups. Blocks.
    pub(crate) fn prepare(config: Config) -> Result<Parts, Unavailable> {
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
        Ok(Parts { config, host, catalog, isolation, numbers: AtomicU64::new(0) })
    }

    /// Gets what a container has before there is one, and our ends of its pipes.
    async fn outfit(&self) -> Result<(Outfit, Pipes), Error> {
        let network = match &self.isolation {
            Some(isolation) => {
                isolation.networks.take().await.map_err(Error::host("make a network for a container"))?
            }
            None => None,
        };
        let user = match self.isolation.as_ref().and_then(|isolation| isolation.users.as_ref()) {
            Some(users) => Some(
                users
                    .take()
                    .ok_or(io::ErrorKind::QuotaExceeded.into())
                    .map_err(Error::host("find a free user for a container"))?,
            ),
            None => None,
        };
        let owner = user.as_ref().map(|user| self.user_id(user));
        let (pipes, ends) = pipes::make(owner).map_err(Error::host("make pipes"))?;
        Ok((Outfit { network, user, ends }, pipes))
    }

    /// Makes a container with a launcher in it. Runs on the maker's thread.
    pub(crate) fn make(
        &self,
        launch: &Launch,
        memory_mb: u32,
        prepared: Option<&Path>,
        outfit: Outfit,
    ) -> io::Result<Made> {
        let environment = launch.environment.iter().chain(&self.config.environment);
        self.make_outfitted(launch.command(memory_mb).collect(), environment, memory_mb, prepared.into(), outfit)
    }

    /// Makes one in which a shell waits to be told what to become. Runs on the
    /// maker's thread.
    pub(crate) fn make_spare(&self, memory_mb: u32, outfit: Outfit) -> io::Result<Made> {
        let command = vec!["/bin/sh".to_owned(), format!("/runtimes/{WAITER}")];
        self.make_outfitted(command, self.config.environment.iter(), memory_mb, Prepared::Later, outfit)
    }

    fn make_outfitted<'a>(
        &self,
        command: Vec<String>,
        environment: impl Iterator<Item = (&'a String, &'a String)>,
        memory_mb: u32,
        prepared: Prepared<'_>,
        outfit: Outfit,
    ) -> io::Result<Made> {
        let Outfit { network, user, ends } = outfit;
        let order = Order {
            command,
            environment: self.environment(environment),
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
            prepared: prepared.as_deref().into(),
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
            Prepared::Nothing => None,
            Prepared::Later => Some(self.host.make_prepared(number)?),
            Prepared::Shared(from) => {
                let to = self.host.make_prepared(number)?;
                workshop::share(from, &to, self.isolation.is_none())?;
                Some(to)
            }
        };
        let belongings = Belongings { folder: self.host.container(number), user, network };
        let Some(isolation) = &self.isolation else {
            let child = self.spawn_plainly(order, &folder, prepared.as_deref())?;
            let inside = folder.to_string_lossy().into_owned();
            return Ok(Made { child, group: None, belongings, action: Action { folder, inside }, prepared });
        };
        let limits = cgroup::Limits { memory_mb: order.memory_mb, processes: self.config.processes };
        let group = isolation.groups.create(number.to_string(), limits)?;
        let view = self.view(&folder, prepared.as_deref(), order);
        let spawned =
            self.spawn_isolated(isolation, &view, &order.environment, &order.descriptors, &group, &belongings);
        match spawned {
            Ok(child) => {
                let action = Action { folder, inside: "/action".to_owned() };
                Ok(Made { child, group: Some(group), belongings, action, prepared })
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
    pub(crate) fn try_isolation(&self) -> Result<(), Unavailable> {
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
            prepared: Prepared::Nothing,
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
