//! A real NGINX with the configuration that operators are given.

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use tempfile::TempDir;

use crate::{Certificate, Origin, eventually, failure};

/// The name that certificates for it must have, and `*.` this.
const HOST: &str = "api.test";
/// Starts that are tried: a free port may be somebody else's a moment later.
const STARTS: usize = 5;

/// A running NGINX. It ends with this value.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    https: SocketAddr,
    http: SocketAddr,
    certificate: Certificate,
}

impl Nginx {
    /// In front of these servers.
    #[track_caller]
    pub fn start(controllers: &[SocketAddr]) -> Nginx {
        let mut said = String::new();
        for _ in 0..STARTS {
            match Nginx::try_start(controllers) {
                Ok(nginx) => return nginx,
                Err(words) => said = words,
            }
        }
        panic!("NGINX does not start (Debian: apt-get install nginx-light): {said}");
    }

    fn try_start(controllers: &[SocketAddr]) -> Result<Nginx, String> {
        let certificate = Certificate::new(&[HOST, &format!("*.{HOST}")]);
        let folder = TempDir::with_prefix("whisker-nginx-").expect("a temporary folder");
        // Its workers are another user, who has folders of their own in here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let (https, http) = (free_address(), free_address());
        let render = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nginx/render.sh");
        let files = getrlimit(Resource::Nofile).current.unwrap_or(30_000).min(30_000);
        let rendered = Command::new(&render)
            .env("HOST", HOST)
            .env("CERTIFICATE", certificate.path())
            .env("KEY", certificate.key_path())
            .env("CONTROLLERS", controllers.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "))
            .env("HTTPS", https.to_string())
            .env("HTTP", http.to_string())
            .env("RUN", folder.path())
            .env("LOG", folder.path())
            // No more than this process has, which may be no one to raise it.
            .env("FILES", files.to_string())
            .env("CONNECTIONS", (files - 100).to_string())
            .output()
            .map_err(|error| format!("{}: {error}", render.display()))?;
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let file = folder.path().join("nginx.conf");
        fs::write(&file, rendered.stdout).expect("the folder is ours");
        // Users' PATHs often lack where Debian puts it.
        let debian = PathBuf::from("/usr/sbin/nginx");
        let child = Command::new(if debian.exists() { debian } else { "nginx".into() })
            .args(["-g", "daemon off;", "-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut nginx = Nginx { child, folder, https, http, certificate };
        let up = eventually(Duration::from_secs(20), || {
            let ended = nginx.child.try_wait().expect("it is our child").is_some();
            let open = TcpStream::connect(https).is_ok() && TcpStream::connect(http).is_ok();
            if ended || open { Ok(!ended) } else { Err("it does not listen".to_owned()) }
        });
        if up {
            return Ok(nginx);
        }
        let mut said = String::new();
        // What it said until it ended; nothing, at worst.
        let _ = nginx.child.stderr.take().map(|mut stream| stream.read_to_string(&mut said));
        Err(said)
    }

    /// As its clients know it.
    pub fn origin(&self) -> Origin {
        self.certificate.origin(self.https)
    }

    /// Where it sends those who come without TLS away.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The certificate that it shows.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What it wrote about requests, and about itself.
    pub fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("access.log") + &read("error.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        failure::tell("NGINX's last lines", || {
            let logs = self.logs();
            let last: Vec<&str> = logs.lines().rev().take(40).collect();
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        });
        // The master ends its workers; killed itself, it could not.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}
