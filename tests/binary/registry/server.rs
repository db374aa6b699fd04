//! A real registry, Debian's `docker-registry`, started by the test that needs it and ended with it: also when the
//! test is killed.

use super::tokens::Tokens;
use crate::harness::skip;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No server takes longer to start.
const LONGEST: Duration = Duration::from_mins(1);

/// Who may log in to a registry with a file of passwords.
pub(super) const NAME: &str = "tester";
pub(super) const PASSWORD: &str = "correct-horse";
/// `htpasswd -Bbn tester correct-horse`.
const PASSWORDS: &str = "tester:$2y$05$wr74MVguQmSTuYctPrwMDuLEriI0yT3zT7rIoJogXVUJmqGli/0gW\n";

/// Who is let in.
pub(super) enum Access<'a> {
    /// Anybody.
    Open,
    /// Who has the password.
    Passwords,
    /// Who has a token of this server.
    Tokens(&'a Tokens),
    /// Anybody who speaks TLS.
    Tls {
        certificate: &'a Path,
        key: &'a Path,
    },
}

/// A registry of its own.
pub(super) struct Registry {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then the test failed anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether all these programs are installed; where servers are required, one that is not fails the test.
pub(super) fn installed(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|place| place.join(name).is_file());
    let missing: Vec<_> = programs.iter().filter(|name| !there(name)).collect();
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var_os("TAPS_REQUIRE_SERVERS").is_some_and(|value| value == "1");
    assert!(!required, "required and not installed: {missing:?}");
    skip(&format!("not installed: {missing:?}"));
    false
}

impl Registry {
    /// Starts one; none when it is not installed.
    pub(super) fn start(access: &Access) -> Option<Self> {
        if !installed(&["docker-registry", "setpriv"]) {
            return None;
        }
        // A port that is free may be taken before the server has it.
        for _ in 0..5 {
            let registry = Self::on(free_port(), access);
            if registry.is_some() {
                return registry;
            }
        }
        panic!("docker-registry does not start");
    }

    fn on(port: u16, access: &Access) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().display();
        let more = match access {
            Access::Open => String::new(),
            Access::Passwords => {
                let file = directory.path().join("passwords");
                fs::write(&file, PASSWORDS).expect("written");
                format!(
                    "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
                    file.display()
                )
            }
            Access::Tokens(tokens) => format!(
                "auth:\n  token:\n    realm: {}\n    service: tests\n    issuer: tests\n    rootcertbundle: {}\n",
                tokens.url(),
                tokens.certificate().display()
            ),
            Access::Tls { certificate, key } => format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                key.display()
            ),
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {root}/data\n\
             http:\n  addr: 127.0.0.1:{port}\n{more}"
        );
        let file = directory.path().join("config.yml");
        fs::write(&file, config).expect("written");
        // It dies with the thread of the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&file)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        let mut registry = Self {
            child,
            directory,
            port,
        };
        let start = Instant::now();
        while !listens(&registry.child, port) {
            if registry.child.try_wait().expect("wait").is_some() {
                return None;
            }
            assert!(start.elapsed() < LONGEST, "docker-registry does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Some(registry)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT/` and a path.
    pub(super) fn reference(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    /// The same by another name of this machine.
    pub(super) fn reference_as(&self, host: &str, path: &str) -> String {
        format!("{host}:{}/{path}", self.port)
    }

    /// The file that holds a blob or a manifest.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.directory
            .path()
            .join("data/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }

    /// Digests of all blobs and manifests, sorted.
    pub(super) fn blobs(&self) -> Vec<String> {
        let root = self
            .directory
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        let mut digests: Vec<String> = entries(&root)
            .iter()
            .flat_map(|group| entries(group))
            .map(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                format!("sha256:{}", name.expect("UTF-8"))
            })
            .collect();
        digests.sort();
        digests
    }
}

/// What is in a directory; a registry to which nothing was sent has none.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Whether a process listens on a port: this one, and not another that was given the same port.
fn listens(child: &Child, port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").expect("a list of sockets");
    let address = format!("0100007F:{port:04X}");
    let mut inodes = sockets.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1) == Some(&address.as_str()) && fields.get(3) == Some(&"0A");
        is_it.then(|| format!("socket:[{}]", fields[9]))
    });
    let Some(wanted) = inodes.next() else {
        return false;
    };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", child.id())) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path());
        target.is_ok_and(|target| target == Path::new(&wanted))
    })
}

/// Runs `skopeo`, which has to succeed.
#[track_caller]
pub(super) fn skopeo(args: &[&str]) -> Vec<u8> {
    let home = tempfile::tempdir().expect("a temporary directory");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .output()
        .expect("it is installed");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "skopeo {args:?}: {status}\n{stderr}");
    stdout
}
