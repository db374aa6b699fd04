//! A cluster that runs already, whose workers do not see the files of the run.

use super::{Found, THREADS, Turn, action};
use crate::{
    harness::{Place, skip},
    pool::{Member, Pool, marked, send},
};
use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What its processes have in their environment.
const MARK: &str = "TAPS_TEST_CLUSTER";

/// How long a cluster may take to do what it is asked.
const LONGEST: Duration = Duration::from_secs(30);

/// A scheduler and two workers.
struct Cluster {
    mark: String,
    place: Place,
    /// In the order in which they were started.
    parts: Vec<Child>,
}

impl Cluster {
    /// Starts it. Workers do not see `hidden`.
    fn start(python: &Path, hidden: &Path) -> Self {
        let place = Place::new();
        let mark = format!("{MARK}={}", place.path().display());
        let mut cluster = Self {
            mark,
            place,
            parts: Vec::new(),
        };
        let file = cluster.file();
        let python = python.to_str().expect("UTF-8");
        let common = [
            "--scheduler-file",
            file.to_str().expect("UTF-8"),
            "--no-dashboard",
        ];
        let scheduler = ["--host", "127.0.0.1", "--port", "0"];
        cluster.spawn(
            &[
                &[python, "-m", "dask", "scheduler"],
                &scheduler[..],
                &common,
            ]
            .concat(),
        );
        let hide = "mount -t tmpfs none \"$0\" && exec \"$@\"";
        let hidden = hidden.to_str().expect("UTF-8");
        let inside = [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            hide,
            hidden,
        ];
        let worker = [
            python,
            "-m",
            "dask",
            "worker",
            "--nworkers=2",
            "--nthreads=1",
        ];
        cluster.spawn(&[&inside, &worker[..], &common].concat());
        cluster
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("scheduler.json")
    }

    fn spawn(&mut self, args: &[&str]) {
        let (name, value) = self.mark.split_once('=').expect("it has a value");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.path().join("log"));
        let log = log.expect("create");
        let spawned = Command::new(args[0])
            .args(&args[1..])
            .current_dir(self.place.path())
            .env("TMPDIR", self.place.path())
            .env(name, value)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share"))
            .stderr(log)
            .spawn();
        self.parts
            .push(spawned.expect("start a part of the cluster"));
    }

    /// The scheduler's address.
    fn address(&self) -> String {
        let end = Instant::now() + LONGEST;
        loop {
            let text = fs::read(self.file()).unwrap_or_default();
            if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&text) {
                return json["address"].as_str().expect("an address").to_owned();
            }
            assert!(Instant::now() < end, "no scheduler: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn members(&self) -> Vec<Member> {
        marked(&self.mark, self.place.path())
    }

    /// Processes of ours that its workers have.
    fn sandboxes(&self) -> Vec<Member> {
        let mut members = self.members();
        members.retain(Member::is_sandbox);
        members
    }

    /// Waits until something is so of those.
    #[track_caller]
    fn until(&self, what: &str, so: impl Fn(&[Member]) -> bool) {
        let end = Instant::now() + LONGEST;
        while !so(&self.sandboxes()) {
            assert!(Instant::now() < end, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    /// Ends the workers, then the scheduler: asked to, they remove what they shared; after a while, by force.
    fn drop(&mut self) {
        for part in self.parts.iter_mut().rev() {
            send(part.id().cast_signed(), Signal::TERM);
            let end = Instant::now() + LONGEST;
            while part.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            // It may have ended by itself.
            let _ = part.kill();
            let _ = part.wait();
        }
        let end = Instant::now() + LONGEST;
        loop {
            let members = self.members();
            if members.is_empty() || Instant::now() > end {
                return;
            }
            for member in members {
                send(member.pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a directory can be hidden from processes here.
fn can_hide() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "tmpfs",
            "none",
            "/mnt",
        ])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn a_dask_cluster_that_shares_no_files() {
    let Some(turn) = Turn::take() else { return };
    if !can_hide() {
        skip("no mount namespaces here");
        return;
    }
    // Files of the runs go below it, and its workers see none of them.
    let place = Place::new();
    fs::create_dir(place.path().join(crate::pool::TEMPORARY)).expect("create");
    let cluster = Cluster::start(&turn.python, &place.path().join(crate::pool::TEMPORARY));
    let address = cluster.address();
    let engine = [
        "--executor=dask",
        "--executor.scheduler",
        &address,
        "--executor.worker-binary",
        env!("CARGO_BIN_EXE_taps-wasm"),
    ];
    let app = [
        "cholesky",
        "--app.matrix-size=60",
        "--app.block-size=20",
        "--kernels=guest",
    ];
    let (ended, json) = Place::new().json(&[&app[..], &THREADS].concat());
    ended.expect(0);
    let expected = Found::of(&json, &crate::harness::run_dir(&json));
    let left = turn.start_in(place, &[&app, &engine]).end();
    left.expect(0);
    assert_eq!(Found::of(&left.json(), &left.run()), expected);
    for task in left.tasks() {
        let inputs = task["inputs"].as_array().expect("a list");
        for input in inputs {
            assert_ne!(input["way"], "read", "{task}");
        }
    }
    cluster.until("left behind", <[Member]>::is_empty);
    fs::remove_dir_all(left.run()).expect("make room for the next");
    interrupted(&turn, &cluster, left.place, &engine);
}

/// A task that runs on a cluster of others ends when the run does.
fn interrupted(turn: &Turn, cluster: &Cluster, place: Place, engine: &[&str]) {
    let stuck = [&action("stuck")[..], &["--app.bytes=9"]].concat();
    let pool: Pool = turn.start_in(place, &[&stuck, engine]);
    cluster.until("no task ran", |members| !members.is_empty());
    pool.signal(Signal::INT);
    let left = pool.end();
    left.expect(130);
    assert_eq!(left.with_outcome("cancelled"), 1, "{}", left.text());
    cluster.until("left behind", <[Member]>::is_empty);
}
