//! A Docker daemon of the tests' own, with images that need no registry.
//!
//! Everything of it is in one temporary folder: its socket, its images, its
//! containers. A supervisor, which is a shell, starts it, and ends it and
//! removes every trace when the test process ends, however that ends: it reads
//! from a pipe whose other end is here. One daemon at a time runs on a machine,
//! since they share its packet filter; the next waits for its turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Builder, Server, binary_path, eventually};

/// Longest that a daemon may take to answer, the one before it to be cleared
/// away included. It takes two seconds; machines that run tests are busy.
const START: Duration = Duration::from_secs(120);

/// Addresses of its networks, which nothing else on the machine has.
const ADDRESSES: &str = "base=10.231.0.0/16,size=24";

/// What every image has, by Debian's packages.
const BASICS: [&str; 8] = ["bash", "coreutils", "dash", "libc-bin", "base-files", "grep", "sed", "findutils"];

/// Serves until its input ends, then clears everything away. Its output is the
/// word `ready`.
const SUPERVISOR: &str = r#"
folder=$1
exec 9>"${TMPDIR:-/tmp}/whisker-test-docker.lock"
flock 9
mkdir "$folder/data" "$folder/exec"
PATH=$PATH:/usr/sbin:/sbin
dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" -H "unix://$folder/socket" \
    --bridge=none --iptables=false --ip6tables=false --default-address-pool "$2" --shutdown-timeout 3 \
    --default-ulimit nofile=1024:1024 >"$folder/log" 2>&1 9>&- </dev/null &
daemon=$!
client="docker -H unix://$folder/socket"
while kill -0 $daemon 2>/dev/null && ! $client version >/dev/null 2>&1; do sleep 0.1; done
echo ready
exec >/dev/null
cat >/dev/null
containers=$($client ps -aq)
[ -z "$containers" ] || $client rm -f $containers
$client network prune -f
kill $daemon
for _ in $(seq 100); do kill -0 $daemon 2>/dev/null || break; sleep 0.1; done
kill -9 $daemon 2>/dev/null
wait
grep -o " $folder[^ ]*" /proc/self/mountinfo | sort -r | xargs -r umount -l
rm -rf "$folder"
"#;

/// What a language's image is made of: its packages, and programs that belong
/// to none, or folders with all that is in them.
const LANGUAGES: [(&str, &[&str], &[&str]); 8] = [
    ("go", &["tar"], &["/usr/local/go", "/usr/lib/go"]),
    (
        "java",
        &["openjdk-17-jdk-headless", "libgoogle-gson-java", "tar"],
        &["/usr/bin/java", "/usr/bin/javac", "/usr/share/java", "/etc/java-17-openjdk", "/usr/lib/jvm"],
    ),
    ("native", &["perl-base", "python3"], &[]),
    ("nodejs", &["nodejs"], &[]),
    ("php", &["php-cli"], &["/usr/bin/php"]),
    ("python", &["python3"], &[]),
    ("ruby", &["ruby"], &[]),
    ("rust", &["cargo", "rustc", "gcc", "libc6-dev", "tar"], &["/usr/share/cargo/registry", "/usr/bin/cc"]),
];

/// Whether this machine has what the image of a language is made of.
pub fn has_parts_of(language: &str) -> bool {
    let Some((_, packages, programs)) = LANGUAGES.iter().find(|(name, ..)| *name == language) else { return false };
    let known = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}\n"]).args(*packages).output();
    let installed = known.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).lines().all(|status| status == "installed")
    });
    installed && (programs.is_empty() || programs.iter().any(|path| Path::new(path).exists()))
}

/// A running daemon.
pub struct Docker {
    folder: PathBuf,
    /// Ends the daemon when it is closed.
    _end: ChildStdin,
    _supervisor: Child,
}

impl Docker {
    /// The daemon of this test process; the first who asks starts it.
    #[track_caller]
    pub fn shared() -> &'static Docker {
        static SHARED: OnceLock<Docker> = OnceLock::new();
        SHARED.get_or_init(Docker::start)
    }

    fn start() -> Docker {
        // Removed by the supervisor.
        let folder = TempDir::with_prefix("whisker-docker-").expect("a temporary folder").keep();
        let mut supervisor = Command::new("setsid")
            .args(["sh", "-c", SUPERVISOR, "sh"])
            .arg(&folder)
            .arg(ADDRESSES)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("setsid and sh are there");
        let end = supervisor.stdin.take().expect("it is piped");
        let said = BufReader::new(supervisor.stdout.take().expect("it is piped")).lines().next();
        assert!(matches!(said, Some(Ok(word)) if word == "ready"), "the supervisor of the Docker daemon ended");
        let docker = Docker { folder, _end: end, _supervisor: supervisor };
        eventually(START, || {
            let version = docker.client().arg("version").output().expect("apt-get install docker.io");
            match version.status.success() {
                true => Ok(()),
                false => Err(format!("it does not answer; its log:\n{}", docker.log())),
            }
        });
        docker
    }

    /// Where it listens.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// Its own client.
    pub fn client(&self) -> Command {
        let mut command = Command::new("docker");
        // The builder that needs no image of its own.
        command.arg("-H").arg(self.host()).env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONFIG");
        command
    }

    /// What the client answers to a command that must succeed.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.client().args(arguments).output().expect("apt-get install docker.io");
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The end of the daemon's log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Makes an image of what this machine has installed: Debian's packages with
    /// what they depend on, and the programs, which may be of no package.
    #[track_caller]
    pub fn import(&self, tag: &str, packages: &[&str], programs: &[&str]) {
        let files = files_of(packages, programs);
        let list = self.folder.join("files");
        let text: String = files.iter().map(|path| format!("{}\n", path.display())).collect();
        fs::write(&list, text).expect("the folder can be written to");
        let mut tar = Command::new("tar")
            .args(["-c", "--no-recursion", "-T"])
            .arg(&list)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tar is there");
        let archive = tar.stdout.take().expect("it is piped");
        let imported = self.client().args(["import", "-", tag]).stdin(archive).stdout(Stdio::null()).status();
        assert!(imported.expect("apt-get install docker.io").success(), "docker import: {}", self.log());
        assert!(tar.wait().expect("tar is a child").success(), "tar failed");
    }

    /// Builds one of our recipes on an image that [`import`](Self::import) made.
    #[track_caller]
    pub fn build(&self, language: &str, base: &str, tag: &str) {
        let runtimes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes");
        let proxy = binary_path().with_file_name("whisker-action-proxy");
        assert!(proxy.exists(), "{} is missing: `cargo build -p whisker-action-proxy` makes it", proxy.display());
        let context = TempDir::with_prefix("whisker-image-").expect("a temporary folder");
        let copied = Command::new("cp").arg("-rT").arg(runtimes).arg(context.path()).status();
        assert!(copied.expect("cp is there").success(), "the recipes could not be copied");
        fs::copy(&proxy, context.path().join("whisker-action-proxy")).expect("the proxy can be copied");
        let recipe = context.path().join(language).join("Dockerfile");
        self.ask(&[
            "build",
            "-q",
            "--network",
            "none",
            "--build-arg",
            &format!("BASE={base}"),
            "-f",
            &recipe.display().to_string(),
            "-t",
            tag,
            &context.path().display().to_string(),
        ]);
    }

    /// Settings for a server whose containers are this daemon's, with the images
    /// of these languages.
    #[track_caller]
    pub fn server(&self, languages: &[&str]) -> Builder {
        let manifest = include_str!("../../../runtimes/manifest.json");
        let manifest: Value = serde_json::from_str(manifest).expect("the manifest is JSON");
        for language in languages {
            let parts = LANGUAGES.iter().find(|(name, ..)| name == language);
            let (_, packages, programs) = parts.unwrap_or_else(|| panic!("nobody knows what {language} is made of"));
            let base = format!("test/base-{language}:1");
            self.import(&base, packages, programs);
            self.build(language, &base, &format!("test/{language}:1"));
            let kinds = manifest["runtimes"][language].as_array();
            let names = match kinds {
                Some(kinds) => kinds.iter().map(|kind| &kind["image"]["name"]).collect(),
                None => vec![&manifest["blackboxes"][0]["name"]],
            };
            for name in names {
                let name = name.as_str().expect("images have names");
                self.ask(&["tag", &format!("test/{language}:1"), &format!("test/{name}:1")]);
            }
        }
        Server::builder()
            .flag("--containers", "docker")
            .flag("--docker-host", &self.host())
            .flag("--docker-image-prefix", "test")
            .flag("--docker-image-tag", "1")
            .flag("--docker-pull", "missing")
    }

    /// Builds an image from a recipe's text and files beside it.
    #[track_caller]
    pub fn build_own(&self, recipe: &str, files: &[(&str, &str)], tag: &str) {
        let context = TempDir::with_prefix("whisker-image-").expect("a temporary folder");
        for (name, text) in files.iter().chain(&[("Dockerfile", recipe)]) {
            let mut file = fs::File::create(context.path().join(name)).expect("the folder can be written to");
            file.write_all(text.as_bytes()).expect("the folder can be written to");
        }
        self.ask(&["build", "-q", "--network", "none", "-t", tag, &context.path().display().to_string()]);
    }
}

/// Files of packages and of all that they depend on, and programs with the
/// folders on the way to each.
fn files_of(packages: &[&str], programs: &[&str]) -> BTreeSet<PathBuf> {
    let said = |command: &mut Command| {
        let output = command.output().expect("dpkg is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let known = said(Command::new("dpkg-query").args(["-W", "-f", "${Package}|${Depends}, ${Pre-Depends}\n"]));
    let depends: BTreeMap<&str, &str> = known.lines().filter_map(|line| line.split_once('|')).collect();
    let mut wanted: Vec<&str> = packages.iter().chain(&BASICS).copied().collect();
    let mut taken = BTreeSet::new();
    while let Some(package) = wanted.pop() {
        let Some(needs) = depends.get(package) else {
            assert!(!packages.contains(&package), "the package {package} is not installed");
            continue;
        };
        if taken.insert(package) {
            let names = needs.split([',', '|']).filter_map(|need| need.trim().split([' ', ':', '(']).next());
            wanted.extend(names);
        }
    }
    let listed = said(Command::new("dpkg").arg("-L").args(&taken));
    let programs = programs.iter().filter(|path| Path::new(path).exists());
    let whole = if programs.clone().count() == 0 { String::new() } else { said(Command::new("find").args(programs)) };
    let listed = listed.lines().chain(whole.lines()).map(PathBuf::from);
    let etc = ["/bin", "/sbin", "/lib", "/lib64", "/etc/passwd", "/etc/group", "/etc/alternatives"].map(PathBuf::from);
    let alternatives = fs::read_dir("/etc/alternatives").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = BTreeSet::new();
    for path in listed.chain(etc).chain(alternatives) {
        let skipped = ["/usr/share/doc", "/usr/share/man", "/usr/share/locale"];
        if skipped.iter().any(|folder| path.starts_with(folder)) || path.symlink_metadata().is_err() {
            continue;
        }
        // Beside a file, not through a link on the way to it.
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Ok(parent) = parent.canonicalize() else { continue };
        let compiled = parent.join("__pycache__");
        if path.extension().is_some_and(|extension| extension == "py") && !files.contains(&compiled) {
            files.extend(fs::read_dir(&compiled).into_iter().flatten().flatten().map(|entry| entry.path()));
            files.insert(compiled);
        }
        files.insert(parent.join(name));
    }
    files.retain(|path| path.symlink_metadata().is_ok());
    let folders: Vec<PathBuf> = files.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
    files.extend(folders);
    files.insert("/tmp".into());
    files.remove(Path::new("/"));
    files
}
