//! Runs the program, each test in a directory of its own.

use serde_json::Value;
use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No run of a test lasts longer; one that does is ended, and fails its test.
pub(crate) const LONGEST: Duration = Duration::from_mins(3);

/// Where compiled code is kept, for all tests.
pub(crate) const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

/// What cargo builds of new apps, for its `CARGO_TARGET_DIR`; kept, so that only the first time takes long. Bundles are
/// built where the guests of this workspace were: there is most of what they depend on.
pub(crate) fn built_apps() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-apps/target");
        fs::create_dir_all(&target).expect("create");
        match symlink("../../../guest-apps", target.join("bundle")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => panic!("{error}"),
            _ => target,
        }
    });
    &BUILT
}

/// The working directory of a test.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a name")).expect("create directories");
        fs::write(&path, content).expect("write a file");
        path
    }

    /// Names of what is in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.path())
    }

    /// The program with these arguments, in this directory, with none of the environment of the
    /// tests but the place of compiled code, which all share.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taps-wasm"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC")
            .env("XDG_CACHE_HOME", CACHE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with these arguments.
    pub(crate) fn call<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ended {
        self.start(args).end()
    }

    /// `taps-wasm run`, with these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.call(["run"].iter().chain(args))
    }

    /// `taps-wasm run --json`, with these arguments.
    pub(crate) fn json(&self, args: &[&str]) -> (Ended, Value) {
        let ended = self.run(&[args, &["--json"]].concat());
        let json = ended.json();
        (ended, json)
    }

    /// Starts the program with these arguments.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        Running::new(self.command(args), self.path())
    }

    /// The only run directory below `runs`, once it has a log.
    pub(crate) fn begun(&self) -> PathBuf {
        let end = Instant::now() + LONGEST;
        loop {
            if let [name] = &names(&self.path().join("runs"))[..] {
                let run = self.path().join("runs").join(name);
                if run.join("events.log").exists() {
                    return run;
                }
            }
            assert!(Instant::now() < end, "no run began");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The only run directory below `runs`.
    pub(crate) fn only_run(&self) -> PathBuf {
        let names = names(&self.path().join("runs"));
        assert_eq!(names.len(), 1, "{names:?}");
        self.path().join("runs").join(&names[0])
    }
}

/// Names in a directory, sorted; none when there is no such directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    directory: PathBuf,
    start: Instant,
    stdout: thread::JoinHandle<String>,
    stderr: thread::JoinHandle<String>,
}

impl Running {
    /// Starts a command.
    pub(crate) fn new(mut command: Command, directory: &Path) -> Self {
        let start = Instant::now();
        let mut child = command.spawn().expect("start the program");
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let stdout = thread::spawn(move || whole(out));
        let stderr = thread::spawn(move || whole(err));
        Self {
            child,
            directory: directory.to_owned(),
            start,
            stdout,
            stderr,
        }
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("send a signal");
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let pause = Duration::from_millis(2);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if self.start.elapsed() > LONGEST {
                self.child.kill().expect("kill");
                let stderr = self.stderr.join().expect("stderr");
                panic!("still running after {LONGEST:?}:\n{stderr}");
            }
            thread::sleep(pause);
        };
        Ended {
            elapsed: self.start.elapsed(),
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.join().expect("stdout"),
            stderr: without_notices(&self.stderr.join().expect("stderr")),
            directory: self.directory,
        }
    }
}

/// What is said of compiling depends on how long it takes.
fn without_notices(stderr: &str) -> String {
    let lines = stderr.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("compiling "))
        .collect()
}

fn whole(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("UTF-8");
    text
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) elapsed: Duration,
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    directory: PathBuf,
}

impl Ended {
    /// Fails unless it ended with this code, and without a panic.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        let panicked = |line: &str| line.starts_with("thread '") && line.contains("panicked");
        assert!(!self.stderr.lines().any(panicked), "{}", self.text());
        self
    }

    /// Fails unless stderr has this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "no `{text}` in\n{}",
            self.text()
        );
        self
    }

    /// Exit code, stdout and stderr; the test's directory is `[DIR]`.
    pub(crate) fn text(&self) -> String {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {signal:?}"),
        };
        let text = format!(
            "{end}\n----- stdout\n{}----- stderr\n{}",
            self.stdout, self.stderr
        );
        let directory = self.directory.to_str().expect("UTF-8");
        let build = Path::new(env!("CARGO_BIN_EXE_taps-wasm")).parent();
        let build = build.and_then(Path::parent).and_then(Path::to_str);
        text.replace(directory, "[DIR]")
            .replace(build.expect("UTF-8"), "[TARGET]")
    }

    /// The JSON on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.stdout);
        json.unwrap_or_else(|error| panic!("{error} in\n{}", self.text()))
    }
}

/// Compares with a snapshot; what differs from run to run is replaced.
macro_rules! snapshot {
    ($text:expr) => {
        $crate::harness::settings().bind(|| insta::assert_snapshot!($text))
    };
    ($name:literal, $text:expr) => {
        $crate::harness::settings().bind(|| insta::assert_snapshot!($name, $text))
    };
}
pub(crate) use snapshot;

/// What differs from run to run, and what stands for it.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(true);
    settings.set_omit_expression(true);
    for (from, to) in [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "[TIME]"),
        (r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", "[TIME]"),
        (r"elapsed=\d+\.\d+s", "elapsed=[SECONDS]"),
        (r"\d+\.\d+ s\b", "[SECONDS] s"),
        (r"; \d+/s", "; [RATE]/s"),
        (r"run_seconds: \S+", "run_seconds: [SECONDS]"),
    ] {
        settings.add_filter(from, to);
    }
    settings
}

/// Lines of JSON.
#[track_caller]
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("read records");
    assert!(text.is_empty() || text.ends_with('\n'), "a whole last line");
    let parsed = text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("line {index}: {error}: {line}"))
    });
    parsed.collect()
}

/// The task records of a run.
#[track_caller]
pub(crate) fn tasks(run: &Path) -> Vec<Value> {
    lines(&run.join("tasks.jsonl"))
}

/// The run directory that a JSON summary names.
pub(crate) fn run_dir(json: &Value) -> PathBuf {
    PathBuf::from(json["run_dir"].as_str().expect("a run directory"))
}

/// The probe app.
pub(crate) fn probe() -> &'static str {
    taps_fixtures::probe().to_str().expect("UTF-8")
}

/// The data of the acceptance tests, or `None`, visibly.
pub(crate) fn data() -> Option<PathBuf> {
    let data = env::var_os("TAPS_WASM_DATA").map(PathBuf::from);
    if data.is_none() {
        skip("TAPS_WASM_DATA is not set");
    }
    data
}

/// Whether all these programs are installed; where they are required, one that is not fails the test.
pub(crate) fn installed(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let there =
        |name: &str| env::split_paths(&path).any(|directory| directory.join(name).is_file());
    let missing: Vec<_> = programs.iter().filter(|name| !there(name)).collect();
    if missing.is_empty() {
        return true;
    }
    let required = env::var_os("TAPS_REQUIRE_PROGRAMS").is_some();
    assert!(!required, "required and not installed: {missing:?}");
    skip(&format!("not installed: {missing:?}"));
    false
}

/// An interpreter that has the packages of the engines, or `None`, visibly; where engines are required, that fails.
pub(crate) fn engines_python() -> Option<PathBuf> {
    let python = env::var_os("TAPS_ENGINES_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let required = env::var_os("TAPS_REQUIRE_ENGINES").is_some_and(|value| value == "1");
        assert!(
            !required,
            "engines are required, and TAPS_ENGINES_PYTHON is not set"
        );
        skip("TAPS_ENGINES_PYTHON is not set");
    }
    python
}

/// Says that a test is skipped, past the capture of the test runner.
pub(crate) fn skip(reason: &str) {
    use std::io::Write;
    let name = thread::current().name().unwrap_or("a test").to_owned();
    // When stderr is gone nobody is there to be told.
    let _ = writeln!(std::io::stderr(), "SKIP {name}: {reason}");
}
