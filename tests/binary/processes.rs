//! The executor `process-pool`, with processes that die, stop or never end: the run goes on or ends as it should, and
//! nothing is left of it.

use crate::harness::{CACHE, Place, lines, names, probe, tasks};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::{
    collections::HashMap,
    env, fs,
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use taps_records::{LogEvent, LogReader};

/// No run here takes longer, unless it hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// What every process of a run has in its environment, with a value of the test's own.
const MARK: &str = "TAPS_TEST_MARK";

/// A run on a process pool, with the processes that belong to it.
struct Pool {
    place: Place,
    child: Child,
    mark: String,
    canary: Child,
}

/// A process of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    pid: i32,
    /// `launcher`, `manager`, `worker`, or `coordinator`.
    role: String,
    parent: i32,
}

/// What is left of a run.
struct Left {
    status: ExitStatus,
    stdout: String,
    stderr: String,
    place: Place,
}

impl Pool {
    fn start(args: &[&str]) -> Self {
        Self::start_limited(args, None)
    }

    /// With so many descriptors for each process.
    fn start_limited(args: &[&str], descriptors: Option<u64>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = Place::new();
        fs::create_dir(place.path().join("tmp")).expect("create");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", std::process::id());
        // To files: who reads a pipe to its end waits for every process that has it.
        let file = |name| fs::File::create(place.path().join(name)).expect("create");
        let program = env!("CARGO_BIN_EXE_taps-wasm");
        let mut command = match descriptors {
            None => Command::new(program),
            Some(most) => {
                let mut shell = Command::new("sh");
                let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
                shell.args(["-c", &limited, program]);
                shell
            }
        };
        command
            .args(["run"])
            .args(args)
            .args(["--executor=process-pool", "--json"])
            .current_dir(place.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("XDG_CACHE_HOME", CACHE)
            .env("TMPDIR", place.path().join("tmp"))
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        let canary = Command::new("sleep").arg("600").spawn();
        Self {
            child: command.spawn().expect("start the program"),
            canary: canary.expect("start a canary"),
            place,
            mark,
        }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The processes that belong to the run and live.
    fn members(&self) -> Vec<Member> {
        let mark = format!("{MARK}={}", self.mark);
        let numbers = names(Path::new("/proc"));
        let pids = numbers.iter().filter_map(|name| name.parse().ok());
        pids.filter_map(|pid| member(pid, &mark)).collect()
    }

    fn of_role(&self, role: &str) -> Vec<Member> {
        let mut members = self.members();
        members.retain(|member| member.role == role);
        members
    }

    /// Waits until something is so.
    #[track_caller]
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LONGEST;
        while !so(self) {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "ended before {what}: {}", self.text());
            assert!(Instant::now() < end, "never {what}: {}", self.text());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until so many workers have joined.
    #[track_caller]
    fn joined(&mut self, count: usize) {
        self.until("joined", |pool| {
            pool.events()
                .is_some_and(|events| events.joined.len() >= count)
        });
    }

    fn events(&self) -> Option<Events> {
        let [name] = &names(&self.place.path().join("runs"))[..] else {
            return None;
        };
        Events::read(&self.place.path().join("runs").join(name))
    }

    fn text(&self) -> String {
        let read = |name| fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        format!(
            "{}\n{}\n{:?}",
            read("stdout"),
            read("stderr"),
            self.members()
        )
    }

    fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the end, and sees that nothing is left but what should be.
    #[track_caller]
    fn end(mut self) -> Left {
        let end = Instant::now() + LONGEST;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() > end {
                let text = self.text();
                self.signal(Signal::KILL);
                panic!("still running: {text}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // A killed coordinator cannot wait for the others to be gone.
        let killed = status.signal().is_some();
        let end = Instant::now() + Duration::from_secs(if killed { 10 } else { 0 });
        let left = loop {
            let left = self.members();
            if left.is_empty() || Instant::now() >= end {
                break left;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        for member in &left {
            send(member.pid, Signal::KILL);
        }
        assert_eq!(left, [], "{}", self.text());
        let read = |name| fs::read_to_string(self.place.path().join(name)).expect("read");
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(names(&self.place.path().join("tmp")), [""; 0]);
        let mut shared = names(Path::new("/dev/shm"));
        shared.retain(|name| name.contains("taps"));
        assert_eq!(shared, [""; 0]);
        let canary = self.canary.try_wait().expect("wait");
        assert!(canary.is_none(), "the canary is dead: {canary:?}");
        self.canary.kill().expect("it lives");
        self.canary.wait().expect("it was killed");
        Left {
            status,
            stdout,
            stderr,
            place: self.place,
        }
    }
}

impl Left {
    #[track_caller]
    fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.text());
        self
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no `{text}` in {}", self.text());
        self
    }

    fn text(&self) -> String {
        format!("{:?}\n{}\n{}", self.status, self.stdout, self.stderr)
    }

    #[track_caller]
    fn json(&self) -> Value {
        let json = serde_json::from_str(&self.stdout);
        json.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn run(&self) -> PathBuf {
        self.place.only_run()
    }

    #[track_caller]
    fn tasks(&self) -> Vec<Value> {
        tasks(&self.run())
    }

    #[track_caller]
    fn events(&self) -> Events {
        Events::read(&self.run()).expect("a log")
    }

    /// Records with this outcome.
    #[track_caller]
    fn with_outcome(&self, outcome: &str) -> usize {
        let tasks = self.tasks();
        tasks
            .iter()
            .filter(|task| task["outcome"] == outcome)
            .count()
    }
}

/// What a run's log says of workers.
#[derive(Debug, Default)]
struct Events {
    joined: Vec<u32>,
    lost: Vec<(u32, String)>,
    finished: usize,
}

impl Events {
    fn read(run: &Path) -> Option<Self> {
        let mut events = Self::default();
        for event in LogReader::open(&run.join("events.log")).ok()? {
            match event {
                Ok(LogEvent::WorkerJoined(info)) => events.joined.push(info.id.0),
                Ok(LogEvent::WorkerLost { worker, reason, .. }) => {
                    events.lost.push((worker.0, reason));
                }
                Ok(LogEvent::AttemptFinished { .. }) => events.finished += 1,
                Ok(_) => {}
                // The end of what is written.
                Err(_) => break,
            }
        }
        Some(events)
    }
}

fn member(pid: i32, mark: &str) -> Option<Member> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let read = |name| fs::read(directory.join(name)).ok();
    let environment = read("environ")?;
    let marked = environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes());
    if !marked {
        return None;
    }
    let cmdline = String::from_utf8_lossy(&read("cmdline")?).into_owned();
    let role = match cmdline.split('\0').collect::<Vec<_>>()[..] {
        [_, "internal", role, ..] => role,
        _ => "coordinator",
    };
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(1);
    Some(Member {
        pid,
        role: role.to_owned(),
        parent: fields.next()?.parse().ok()?,
    })
}

fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process number");
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Two nodes of two workers, and tasks of 15 ms.
const NODES: [&str; 2] = ["--executor.nodes=2", "--executor.workers-per-node=2"];
const BAG: [&str; 6] = [
    "synthetic",
    "--app.structure=bag",
    "--app.task-count=400",
    "--app.bag-max-running=16",
    "--app.task-sleep=0.015",
    "--retries=5",
];

fn bag(more: &[&str]) -> Pool {
    Pool::start(&[&BAG[..], &NODES[..], more].concat())
}

#[test]
fn a_run_that_ends_by_itself_leaves_nothing() {
    let left = bag(&[]).end();
    left.expect(0);
    assert!(
        left.stderr.lines().all(|line| !line.starts_with("error")),
        "{}",
        left.text()
    );
    let events = left.events();
    assert_eq!(
        (events.joined.len(), &events.lost[..]),
        (4, &[][..]),
        "{events:?}"
    );
    assert_eq!(left.json()["tasks"]["retried"], 0);
}

#[test]
fn a_killed_worker_costs_a_retry_at_most() {
    for (joined, pause_ms) in [(0, 0), (1, 0), (4, 0), (4, 30), (4, 333)] {
        let mut pool = bag(&[]);
        pool.until("a worker", |pool| !pool.of_role("worker").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        send(pool.of_role("worker")[0].pid, Signal::KILL);
        let left = pool.end();
        left.expect(0);
        let json = left.json();
        assert_eq!(json["tasks"]["succeeded"], 400);
        let lost = left.with_outcome("worker-lost");
        assert!(lost <= 1, "{lost}");
        assert_eq!(json["tasks"]["retried"], lost);
        let events = left.events();
        assert!(events.lost.len() <= 1, "{events:?}");
        assert_eq!(events.joined.len(), 4 + events.lost.len(), "{events:?}");
        if joined == 4 {
            assert!(events.lost[0].1.contains("signal 9"), "{events:?}");
        }
    }
}

#[test]
fn workers_killed_one_after_the_other_lose_no_task() {
    let mut pool = bag(&["--app.task-data-bytes=2000000"]);
    pool.joined(4);
    let mut killed = 0;
    while killed < 12 {
        if pool.child.try_wait().expect("wait").is_some() {
            break;
        }
        if let Some(worker) = pool.of_role("worker").get(killed % 4) {
            send(worker.pid, Signal::KILL);
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(120));
    }
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.json()["tasks"]["succeeded"], 400);
    assert!(left.with_outcome("worker-lost") <= killed);
}

#[test]
fn a_killed_manager_takes_its_node_and_no_other() {
    for pause_ms in [0, 50, 333] {
        let mut pool = bag(&[]);
        pool.joined(4);
        std::thread::sleep(Duration::from_millis(pause_ms));
        let manager = pool.of_role("manager")[0].clone();
        let mut below = pool.of_role("worker");
        below.retain(|worker| worker.parent == manager.pid);
        assert_eq!(below.len(), 2);
        send(manager.pid, Signal::KILL);
        let left = pool.end();
        left.expect(0);
        assert_eq!(left.json()["tasks"]["succeeded"], 400);
        let events = left.events();
        let mut lost: Vec<u32> = events.lost.iter().map(|(worker, _)| *worker).collect();
        lost.sort_unstable();
        assert!(lost == [0, 1] || lost == [2, 3], "{events:?}");
        assert_eq!(events.joined.len(), 6, "{events:?}");
        assert!(left.with_outcome("worker-lost") <= 2);
        // Who was lost is in the records, and so is who came back.
        let nodes = |outcome: &str| -> HashMap<String, usize> {
            let mut nodes = HashMap::new();
            for task in left.tasks() {
                if task["outcome"] == outcome {
                    let worker = task["worker"].as_u64().expect("a worker");
                    *nodes.entry(format!("node-{}", worker / 2)).or_default() += 1;
                }
            }
            nodes
        };
        assert!(nodes("worker-lost").len() <= 1);
        assert_eq!(nodes("ok").len(), 2);
    }
}

#[test]
fn a_killed_launcher_ends_the_run() {
    for pause_ms in [0, 200] {
        let mut pool = bag(&[]);
        pool.joined(4);
        std::thread::sleep(Duration::from_millis(pause_ms));
        send(pool.of_role("launcher")[0].pid, Signal::KILL);
        let left = pool.end();
        left.expect(6).says("the launcher process is gone");
        let json = left.json();
        assert_eq!(json["ok"], false);
        assert!(!left.tasks().is_empty());
    }
}

#[test]
fn a_launcher_killed_at_once_ends_the_run() {
    let mut pool = bag(&[]);
    pool.until("a launcher", |pool| !pool.of_role("launcher").is_empty());
    send(pool.of_role("launcher")[0].pid, Signal::KILL);
    let left = pool.end();
    assert!(!left.status.success(), "{}", left.text());
    let errors = left.stderr.lines().filter(|line| line.starts_with("error"));
    assert_eq!(errors.count(), 1, "{}", left.text());
}

#[test]
fn a_killed_coordinator_takes_everything_with_it() {
    for (joined, pause_ms) in [(0, 0), (0, 7), (1, 0), (4, 100), (4, 317)] {
        let mut pool = bag(&["--app.task-count=100000"]);
        pool.until("a launcher", |pool| !pool.of_role("launcher").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        let finished = pool.events().map_or(0, |events| events.finished);
        pool.signal(Signal::KILL);
        let left = pool.end();
        assert_eq!(left.status.signal(), Some(9));
        let run = left.run();
        if run.join("events.log").exists() {
            left.place
                .call(["records", run.to_str().expect("UTF-8")])
                .expect(0);
            assert!(lines(&run.join("tasks.jsonl")).len() >= finished);
        }
    }
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    for (joined, pause_ms) in [(0, 0), (1, 0), (4, 100)] {
        let mut pool = bag(&["--app.task-count=100000"]);
        pool.until("a worker", |pool| !pool.of_role("worker").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        pool.signal(Signal::INT);
        let left = pool.end();
        left.expect(130)
            .says("error: interrupted; tasks were cancelled");
    }
}

#[test]
fn a_stopped_worker_is_replaced() {
    let mut pool = bag(&["--executor.heartbeat-timeout=1"]);
    pool.joined(4);
    std::thread::sleep(Duration::from_millis(100));
    send(pool.of_role("worker")[0].pid, Signal::STOP);
    let left = pool.end();
    left.expect(0);
    let events = left.events();
    assert_eq!(events.lost.len(), 1, "{events:?}");
    assert!(
        events.lost[0].1.contains("no sign of life for"),
        "{events:?}"
    );
    let json = left.json();
    assert_eq!(json["tasks"]["succeeded"], 400);
    assert_eq!(json["tasks"]["retried"], left.with_outcome("worker-lost"));
}

#[test]
fn workers_with_long_or_no_tasks_are_not_silent() {
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=2",
        "--app.task-sleep=2.5",
        "--executor.heartbeat-timeout=0.5",
    ];
    let left = Pool::start(&[&args[..], &NODES].concat()).end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_coordinator_that_was_stopped_blames_nobody() {
    let mut pool = bag(&["--executor.heartbeat-timeout=0.5"]);
    pool.joined(4);
    pool.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1500));
    pool.signal(Signal::CONT);
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_driver_that_computes_blames_no_worker() {
    let args = [
        probe(),
        "--app.action=ponder",
        "--app.count=2",
        "--app.bytes=800",
        "--executor.heartbeat-timeout=0.3",
        "--executor.max-processes=2",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_guest_without_checks_is_stopped_with_its_worker() {
    for (action, name) in [("spin", "spin"), ("kernel", "kernel"), ("sleep", "sleep")] {
        let args = [
            probe(),
            "--app.action",
            action,
            "--app.count=4",
            "--engine.interrupt=free",
            "--task-timeout=0.5",
            "--executor.max-processes=2",
        ];
        let left = Pool::start(&args).end();
        left.expect(0);
        assert_eq!(left.with_outcome("timeout"), 4, "{name}");
        assert_eq!(left.tasks().len(), 4, "{name}: {:?}", left.tasks());
    }
}

#[test]
fn a_guest_without_checks_is_cancelled() {
    let args = [
        probe(),
        "--app.action=spin",
        "--app.count=5",
        "--engine.interrupt=free",
        "--executor.max-processes=2",
    ];
    let mut pool = Pool::start(&args);
    pool.joined(2);
    std::thread::sleep(Duration::from_millis(200));
    pool.signal(Signal::INT);
    let left = pool.end();
    left.expect(130);
    assert_eq!(left.with_outcome("cancelled"), 5);
}

#[test]
fn tasks_behind_one_that_takes_its_worker_along_are_not_charged() {
    let args = [
        probe(),
        "--app.action=behind",
        "--app.count=200",
        "--engine.interrupt=free",
        "--task-timeout=1",
        "--executor.max-processes=1",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    let json = left.json();
    assert_eq!(json["tasks"]["retried"], 0);
    assert_eq!(json["tasks"]["succeeded"], 250);
    assert_eq!(left.with_outcome("timeout"), 1);
    assert_eq!(left.with_outcome("worker-lost"), 0);
}

#[test]
fn no_short_task_waits_for_a_long_one() {
    let args = [
        probe(),
        "--app.action=behind",
        "--app.count=2000",
        "--app.bytes=30000",
        "--executor.max-processes=2",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    assert_eq!(left.json()["values"]["pending"], 1, "{}", left.text());
}

#[test]
fn demands_are_checked_against_nodes() {
    let args = [probe(), "--app.action=greedy"];
    let left = Pool::start(&[&args[..], &NODES].concat()).end();
    left.expect(1)
        .says("`cores`: 100000 asked, no host of this run has more than 2");
    assert_eq!(left.json()["tasks"]["submitted"], 0);
}

#[test]
fn numbers_of_workers_that_make_no_sense_are_refused() {
    for (args, says) in [
        (
            &[
                "--executor.workers-per-node=2",
                "--executor.max-processes=2",
            ][..],
            "give one of them",
        ),
        (&["--executor.workers-per-node=0"], "workers_per_node"),
        (&["--executor.max-processes=0"], "max_processes"),
        (&["--executor.nodes=0"], "nodes"),
        (&["--executor.nodes=many"], "nodes"),
        (&["--executor.heartbeat-timeout=0"], "heartbeat_timeout"),
        (&["--executor.context=thread"], "context"),
    ] {
        let left = Pool::start(&[&BAG[..], args].concat()).end();
        left.expect(2).says(says);
        assert_eq!(names(&left.place.path().join("runs")), [""; 0], "{args:?}");
    }
    bag(&["--executor.context=spawn", "--app.task-count=20"])
        .end()
        .expect(0);
}

/// Passes 10 MB through 100 tasks.
const CHAIN: [&str; 6] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=100",
    "--app.task-data-bytes=10000000",
    "--engine.payload.limit=200 MB",
    "--retries=5",
];

#[test]
fn a_chain_of_large_payloads_frees_them_as_it_goes() {
    for workers in ["--executor.max-processes=1", "--executor.max-processes=3"] {
        let left = Pool::start(&[&CHAIN[..], &[workers]].concat()).end();
        left.expect(0);
        assert_eq!(left.json()["tasks"]["retried"], 0);
    }
}

#[test]
fn a_chain_outlives_its_workers() {
    let args = ["--app.task-sleep=0.01", "--executor.max-processes=2"];
    let mut pool = Pool::start(&[&CHAIN[..], &args].concat());
    pool.joined(2);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(250));
        for worker in pool.of_role("worker") {
            send(worker.pid, Signal::KILL);
        }
    }
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.json()["tasks"]["succeeded"], 100);
}

/// The most memory that the processes of a run had at a time, resident and in files without a name.
fn most_memory(mut pool: Pool) -> (u64, u64) {
    let mut most = (0, 0);
    while pool.child.try_wait().expect("wait").is_none() {
        let members = pool.members();
        let resident = members.iter().filter_map(|member| resident(member.pid));
        most.0 = most.0.max(resident.sum());
        let mut files = HashMap::new();
        for member in &members {
            files.extend(unnamed_files(member.pid));
        }
        most.1 = most.1.max(files.values().sum());
        std::thread::sleep(Duration::from_millis(10));
    }
    pool.end().expect(0);
    most
}

fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Memory that is held by descriptors, by inode.
fn unnamed_files(pid: i32) -> HashMap<(u64, u64), u64> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    let files = names_or_none(&directory);
    let found = files.iter().filter_map(|name| {
        let path = directory.join(name);
        let target = fs::read_link(&path).ok()?;
        let unnamed = target.to_str()?.ends_with(" (deleted)");
        let metadata = fs::metadata(&path).ok().filter(|_| unnamed)?;
        Some(((metadata.dev(), metadata.ino()), metadata.blocks() * 512))
    });
    found.collect()
}

/// As [`names`], of a directory that changes.
fn names_or_none(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect()
}

#[test]
fn memory_does_not_grow_with_the_number_of_tasks() {
    let run = |count: &str| {
        let args = [
            "synthetic",
            "--app.structure=bag",
            "--app.bag-max-running=8",
            "--app.task-data-bytes=1000000",
            "--executor.max-processes=2",
            "--app.task-count",
            count,
        ];
        most_memory(Pool::start(&args))
    };
    let (few, many) = (run("500"), run("2000"));
    // Sampled, and so not exact; 1,500 payloads more would be 1.5 GB.
    let margin = 64 << 20;
    assert!(many.0 < few.0 + few.0 / 4 + margin, "{few:?} {many:?}");
    assert!(many.1 < few.1 + few.1 / 4 + margin, "{few:?} {many:?}");
}

#[test]
fn a_run_without_descriptors_says_so() {
    for most in [12, 16, 20, 24, 32, 48, 64] {
        let args = ["--app.task-data-bytes=3000000", "--app.task-count=100"];
        let args = [&BAG[..], &NODES, &args].concat();
        let left = Pool::start_limited(&args, Some(most)).end();
        if left.status.success() {
            assert_eq!(left.json()["tasks"]["succeeded"], 100);
        } else {
            left.says("Too many open files");
        }
    }
}
