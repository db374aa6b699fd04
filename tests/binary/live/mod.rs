//! Runs that are watched while they go on: the page, numbers for Prometheus, traces for OpenTelemetry.

mod chromium;
mod collector;
mod http;
mod metrics;
mod page;
mod secrets;
mod traces;

use crate::harness::{Ended, Place, Running, probe};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Nothing that is waited for lasts longer.
const LONGEST: Duration = Duration::from_secs(50);

/// Tasks of the run that goes on until it is interrupted: those that end, and all.
const ENDED: u64 = 50 + 40;
const SUBMITTED: u64 = ENDED + 1;

/// A run that goes on until it is interrupted, and has done all that it will do before.
const ENDLESS: [&str; 5] = [
    "--app.action=behind",
    "--app.count=40",
    "--app.bytes=0",
    "--executor.max-threads=2",
    "-q",
];

/// A run that is watched, and where.
struct Watched {
    place: Place,
    running: Running,
    said: PathBuf,
}

impl Watched {
    /// Starts a run with these arguments; what it says on stderr goes to a file.
    fn start(args: &[&str]) -> Self {
        let place = Place::new();
        let said = place.write("said", "");
        // The shell, as only it is asked to send what the program says elsewhere.
        let mut command = into_shell(&place.command::<&str>([]));
        command.arg(&said).arg("run").args(args);
        let running = Running::new(command, place.path());
        Self {
            place,
            running,
            said,
        }
    }

    /// Starts one that goes on until it is interrupted.
    fn endless(args: &[&str]) -> Self {
        Self::start(&[&[probe()], &ENDLESS[..], args].concat())
    }

    /// The address that was announced under this name.
    fn address(&self, name: &str) -> String {
        let mark = format!("{name}: ");
        let mut found = None;
        until(&format!("{name} is announced"), || {
            let said = fs::read_to_string(&self.said).expect("what was said");
            let whole = said.ends_with('\n').then(|| said.lines());
            found = whole
                .into_iter()
                .flatten()
                .find_map(|line| line.strip_prefix(&mark))
                .map(str::to_owned);
            found.is_some()
        });
        found.expect("an address")
    }

    /// Interrupts it, and waits for its end. What it said is in `stderr`.
    fn interrupt(self) -> (Place, Ended) {
        self.running.signal(Signal::INT);
        self.end()
    }

    fn end(self) -> (Place, Ended) {
        let mut ended = self.running.end();
        ended.stderr = fs::read_to_string(&self.said).expect("what was said");
        (self.place, ended)
    }
}

/// The same command, its stderr in the file that is its first argument.
fn into_shell(like: &Command) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "said=$1; shift; exec \"$0\" \"$@\" 2>\"$said\""])
        .arg(like.get_program())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in like.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if let Some(directory) = like.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONGEST;
    while !is_so() {
        assert!(Instant::now() < end, "never so: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What the report of the only run of a place shows.
#[track_caller]
fn report(place: &Place) -> Value {
    crate::report::model(place, &place.only_run())
}

#[test]
fn what_cannot_be_had_is_refused_before_any_work() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let base = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=1",
    ];
    for (flag, name) in [
        ("--dashboard", "--dashboard"),
        ("--metrics-port", "--metrics-port"),
    ] {
        let ended = place.run(&[&base[..], &[flag, &port.to_string()]].concat());
        ended
            .expect(2)
            .says(&format!("{name}: port {port} of 127.0.0.1 cannot be had"))
            .says("hint: 0 takes any port that is free");
    }
    for (flag, said) in [
        (
            "--dashboard=65536",
            "--dashboard: expected a whole number from 0 to 65535",
        ),
        (
            "--dashboard=x",
            "--dashboard: expected a whole number from 0 to 65535",
        ),
        (
            "--metrics-port=-1",
            "--metrics-port: expected a whole number from 0 to 65535",
        ),
        (
            "--otlp-endpoint=127.0.0.1:4318",
            "--otlp-endpoint: expected an address such as",
        ),
        (
            "--otlp-endpoint=ftp://x",
            "--otlp-endpoint: expected an address such as",
        ),
        (
            "--otlp-endpoint=http://u:p@x",
            "--otlp-endpoint: expected an address such as",
        ),
        (
            "--otlp-endpoint=http://x/?a=b",
            "--otlp-endpoint: expected an address such as",
        ),
        (
            "--otlp-endpoint=env",
            "--otlp-endpoint: expected one of OTEL_EXPORTER_OTLP_",
        ),
    ] {
        let ended = place.run(&[&base[..], &[flag]].concat());
        ended.expect(2).says(said);
    }
    let ended = place.run(&[&base[..], &["--metrics-port"]].concat());
    ended.expect(2).says("--metrics-port: needs a value");
    let mut command = place.command([&["run"], &base[..], &["--otlp-endpoint=env"]].concat());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318");
    let ended = Running::new(command, place.path()).end();
    ended
        .expect(2)
        .says("OTEL_EXPORTER_OTLP_ENDPOINT: expected an address of HTTP")
        .says("got `collector:4318`");
    assert_eq!(place.names(), Vec::<String>::new(), "nothing is left");
}

#[test]
fn a_flag_may_stand_alone_and_a_file_may_say_it() {
    let place = Place::new();
    let config = |args: &[&str]| {
        let ended = place.run(&[args, &["--dry-run"]].concat());
        ended.expect(0);
        let table: toml::Table = ended.stdout.parse().expect("TOML");
        table["live"].as_table().expect("a section").clone()
    };
    let base = ["--app.structure=sequential", "--app.task-count=1"];
    let alone = config(&[&["--dashboard", "synthetic"], &base[..]].concat());
    assert_eq!(alone["dashboard"].as_integer(), Some(0));
    let last = config(&[&["synthetic"], &base[..], &["--dashboard"]].concat());
    assert_eq!(last["dashboard"].as_integer(), Some(0));
    let given = config(&[&["--dashboard", "8080", "synthetic"], &base[..]].concat());
    assert_eq!(given["dashboard"].as_integer(), Some(8080));
    let none = config(&[&["--dashboard", "none", "synthetic"], &base[..]].concat());
    assert_eq!(none["dashboard"].as_str(), Some("none"), "off by default");
    let file = "[app]\nname = \"synthetic\"\nstructure = \"sequential\"\ntask_count = 1\n\
                [live]\ndashboard = 7\nmetrics_port = 8\notlp_endpoint = \"https://a:1/b\"\n";
    place.write("file.toml", file);
    let filed = config(&["-c", "file.toml"]);
    assert_eq!(filed["dashboard"].as_integer(), Some(7));
    assert_eq!(filed["metrics_port"].as_integer(), Some(8));
    assert_eq!(filed["otlp_endpoint"].as_str(), Some("https://a:1/b"));
}

#[test]
fn watching_is_no_difference_between_runs() {
    let place = Place::new();
    let base = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=3",
        "-q",
    ];
    for (run, more) in [("a", &["--dashboard", "--metrics-port=0"][..]), ("b", &[])] {
        let directory = format!("--run-dir={run}");
        place
            .run(&[&base[..], &[&directory], more].concat())
            .expect(0);
    }
    let compared = place.call(["compare", "a", "b", "--json"]);
    let compared = compared.expect(0).json();
    let groups = compared["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1, "repeats of each other: {compared:#}");
}
