//! Real servers for tests, each started by the test that needs it and ended with it.
//!
//! A server that cannot be started skips its test, visibly; with `TAPS_REQUIRE_SERVERS=1`, which CI sets,
//! it fails it.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No server takes longer to start.
const LONGEST: Duration = Duration::from_mins(1);

/// Says that a test is skipped, past the capture of the test runner.
fn missing(what: &str, error: &dyn std::fmt::Display) {
    let required = std::env::var_os("TAPS_REQUIRE_SERVERS").is_some_and(|value| value == "1");
    assert!(!required, "{what} could not be started: {error}");
    let name = thread::current().name().unwrap_or("a test").to_owned();
    // When stderr is gone nobody is there to be told.
    let _ = writeln!(
        std::io::stderr(),
        "SKIP {name}: {what} could not be started: {error}"
    );
}

/// A child process that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < LONGEST, "{what} does not answer");
        thread::sleep(Duration::from_millis(5));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A `redis-server` of its own, on a UNIX socket and on a port.
pub(crate) struct Redis {
    server: Option<Server>,
    directory: TempDir,
    password: Option<String>,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts one; none when it is not installed.
    pub(crate) fn start(password: Option<&str>) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut redis = Self {
            server: None,
            directory,
            password: password.map(str::to_owned),
            port: free_port(),
        };
        redis.run().then_some(redis)
    }

    /// Starts it again, on the same addresses.
    pub(crate) fn restart(&mut self) {
        assert!(self.run(), "it was started before");
    }

    fn run(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        let (port, socket) = (self.port.to_string(), self.socket());
        command
            .args(["--port", &port, "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        match command.spawn() {
            Ok(child) => {
                self.server = Some(Server(child));
                wait_until("redis-server", || self.client().get_connection().is_ok());
                true
            }
            Err(error) => {
                missing("redis-server", &error);
                false
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let socket = self.socket();
        let socket = socket.to_str().expect("UTF-8");
        match &self.password {
            Some(password) => format!("redis+unix://{socket}?pass={password}"),
            None => format!("redis+unix://{socket}"),
        }
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("a valid address")
    }

    /// Asks it something.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.client().get_connection().expect("it runs");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).expect("it answers")
    }

    /// Names of all keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.ask(&["KEYS", "*"])
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }
}

/// The S3 API of `s3s-fs`, in this process, over a directory. It checks signatures.
pub(crate) struct S3 {
    runtime: Option<tokio::runtime::Runtime>,
    directory: TempDir,
    port: u16,
}

impl S3 {
    pub(crate) const BUCKET: &str = "payloads";
    pub(crate) const KEY_ID: &str = "tester";
    pub(crate) const SECRET: &str = "correct-horse";

    pub(crate) fn start() -> Self {
        use hyper_util::{
            rt::{TokioExecutor, TokioIo},
            server::conn::auto::Builder,
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(Self::BUCKET)).expect("a bucket");
        let store = s3s_fs::FileSystem::new(directory.path()).expect("a directory");
        let mut service = s3s::service::S3ServiceBuilder::new(store);
        service.set_auth(s3s::auth::SimpleAuth::from_single(
            Self::KEY_ID,
            Self::SECRET,
        ));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A client that goes away is no matter of the test.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            runtime: Some(runtime),
            directory,
            port,
        }
    }

    /// Options for a client; `secret` is the password.
    pub(crate) fn options(&self, secret: &str) -> Vec<(&'static str, String)> {
        s3_options(self.port, Self::KEY_ID, secret)
    }

    /// Files of the bucket, at any depth, relative to it.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        files_below(&self.directory.path().join(Self::BUCKET))
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// PyPI's `moto_server`: knows conditions on puts, checks no signatures.
pub(crate) struct Moto {
    _server: Server,
    port: u16,
}

impl Moto {
    pub(crate) const BUCKET: &str = "payloads";

    pub(crate) fn start() -> Option<Self> {
        let port = free_port();
        let program = std::env::var_os("TAPS_MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = match child {
            Ok(child) => Server(child),
            Err(error) => {
                missing("moto_server", &error);
                return None;
            }
        };
        wait_until("moto_server", || http(port, "GET", "/").is_some());
        let made = http(port, "PUT", &format!("/{}", Self::BUCKET));
        assert!(
            made.as_deref()
                .is_some_and(|answer| answer.contains(" 200 ")),
            "{made:?}"
        );
        Some(Self {
            _server: server,
            port,
        })
    }

    /// Options for a client.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        s3_options(self.port, "anybody", "anything")
    }
}

fn http(port: u16, method: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn s3_options(port: u16, key_id: &str, secret: &str) -> Vec<(&'static str, String)> {
    vec![
        ("aws_endpoint", format!("http://127.0.0.1:{port}")),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", key_id.to_owned()),
        ("aws_secret_access_key", secret.to_owned()),
        ("allow_http", "true".to_owned()),
    ]
}

/// All files below a directory, relative to it, sorted; none when there is no such directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.strip_prefix(directory).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}
