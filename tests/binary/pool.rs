//! Runs on a process pool, with their processes in sight: whatever a test does to them, nothing may be left in the end.

use crate::harness::{CACHE, LONGEST, Place, names, tasks};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use taps_records::{LogEvent, LogReader};

/// What every process of a run has in its environment, with a value of the test's own.
const MARK: &str = "TAPS_TEST_MARK";

/// Directory of a run's temporary files. Its name is short: engines make sockets below.
pub(crate) const TEMPORARY: &str = "t";

/// A run on a process pool, with the processes that belong to it.
pub(crate) struct Pool {
    pub(crate) place: Place,
    pub(crate) child: Child,
    mark: String,
    canary: Child,
}

/// A process of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    /// `launcher`, `manager`, `worker`, or `coordinator`.
    pub(crate) role: String,
    pub(crate) parent: i32,
    /// Its command line, with spaces between the arguments.
    pub(crate) line: String,
}

/// What is left of a run.
pub(crate) struct Left {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) place: Place,
}

impl Pool {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_limited(args, None)
    }

    /// With so many descriptors for each process.
    pub(crate) fn start_limited(args: &[&str], descriptors: Option<u64>) -> Self {
        let args = [&["run"], args, &["--executor=process-pool", "--json"]].concat();
        Self::launch(Place::new(), &args, descriptors)
    }

    /// Any command, in a place where others may have run before.
    pub(crate) fn command(place: Place, args: &[&str]) -> Self {
        Self::launch(place, args, None)
    }

    fn launch(place: Place, args: &[&str], descriptors: Option<u64>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(place.path().join(TEMPORARY)).expect("create");
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
            .args(args)
            .current_dir(place.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("XDG_CACHE_HOME", CACHE)
            .env("TMPDIR", place.path().join(TEMPORARY))
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        let canary = Command::new("sleep").arg("600").process_group(0).spawn();
        Self {
            child: command.spawn().expect("start the program"),
            canary: canary.expect("start a canary"),
            place,
            mark,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The processes that belong to the run and live.
    pub(crate) fn members(&self) -> Vec<Member> {
        marked(&format!("{MARK}={}", self.mark), self.place.path())
    }

    /// Files in shared memory that its processes have mapped, and that have a name.
    pub(crate) fn mapped(&self) -> BTreeSet<PathBuf> {
        let maps = |member: &Member| fs::read_to_string(format!("/proc/{}/maps", member.pid));
        let texts: Vec<String> = (self.members().iter())
            .filter_map(|member| maps(member).ok())
            .collect();
        let files = texts.iter().flat_map(|text| text.lines());
        files
            .filter(|line| !line.ends_with(" (deleted)"))
            .filter_map(|line| Some(PathBuf::from(&line[line.find("/dev/shm/")?..])))
            .collect()
    }

    pub(crate) fn of_role(&self, role: &str) -> Vec<Member> {
        let mut members = self.members();
        members.retain(|member| member.role == role);
        members
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
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
    pub(crate) fn joined(&mut self, count: usize) {
        self.until("joined", |pool| {
            pool.events()
                .is_some_and(|events| events.joined.len() >= count)
        });
    }

    pub(crate) fn events(&self) -> Option<Events> {
        let [name] = &names(&self.place.path().join("runs"))[..] else {
            return None;
        };
        Events::read(&self.place.path().join("runs").join(name))
    }

    pub(crate) fn text(&self) -> String {
        let read = |name| fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        format!(
            "{}\n{}\n{:?}",
            read("stdout"),
            read("stderr"),
            self.members()
        )
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the end, and sees that nothing is left but what should be.
    #[track_caller]
    pub(crate) fn end(mut self) -> Left {
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
        assert_eq!(names(&self.place.path().join(TEMPORARY)), [""; 0]);
        let mut shared = names(Path::new("/dev/shm"));
        shared.retain(|name| name.contains("taps") && !is_of_another(name, self.pid()));
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
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no `{text}` in {}", self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        format!("{:?}\n{}\n{}", self.status, self.stdout, self.stderr)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.stdout);
        json.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.place.only_run()
    }

    #[track_caller]
    pub(crate) fn tasks(&self) -> Vec<Value> {
        tasks(&self.run())
    }

    #[track_caller]
    pub(crate) fn events(&self) -> Events {
        Events::read(&self.run()).expect("a log")
    }

    /// Records with this outcome.
    #[track_caller]
    pub(crate) fn with_outcome(&self, outcome: &str) -> usize {
        let tasks = self.tasks();
        tasks
            .iter()
            .filter(|task| task["outcome"] == outcome)
            .count()
    }
}

/// What a run's log says of workers.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) joined: Vec<u32>,
    pub(crate) lost: Vec<(u32, String)>,
    pub(crate) started: usize,
    pub(crate) finished: usize,
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
                Ok(LogEvent::AttemptStarted { .. }) => events.started += 1,
                Ok(LogEvent::AttemptFinished { .. }) => events.finished += 1,
                Ok(_) => {}
                // The end of what is written.
                Err(_) => break,
            }
        }
        Some(events)
    }
}

/// Whether a directory in shared memory is that of another run, which its name tells.
fn is_of_another(name: &str, pid: i32) -> bool {
    let number = name
        .strip_prefix("taps-")
        .and_then(|rest| rest.split_once('-'));
    number.is_some_and(|(number, _)| number.parse().is_ok_and(|other: i32| other != pid))
}

impl Member {
    /// Whether it is this program, and runs tasks for an engine's worker, which is its parent.
    pub(crate) fn is_sandbox(&self) -> bool {
        let mut words = self.line.split(' ');
        let program = words.next().unwrap_or_default();
        program.rsplit('/').next() == Some("taps-wasm")
            && matches!(words.next(), Some("worker" | "exec"))
    }
}

/// Processes with this entry in their environment, or that work below this directory: some engines write a title
/// where the environment was.
pub(crate) fn marked(mark: &str, place: &Path) -> Vec<Member> {
    let numbers = names(Path::new("/proc"));
    let pids = numbers.iter().filter_map(|name| name.parse().ok());
    pids.filter_map(|pid| member(pid, mark, place)).collect()
}

fn member(pid: i32, mark: &str, place: &Path) -> Option<Member> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let read = |name| fs::read(directory.join(name)).ok();
    let environment = read("environ")?;
    let marked = environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes());
    let works_there = || {
        let at = fs::read_link(directory.join("cwd"));
        at.is_ok_and(|at| at.starts_with(place))
    };
    if !marked && !works_there() {
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
        line: cmdline.replace('\0', " "),
    })
}

pub(crate) fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process number");
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Two nodes of two workers, and tasks of 15 ms.
pub(crate) const NODES: [&str; 2] = ["--executor.nodes=2", "--executor.workers-per-node=2"];
pub(crate) const BAG: [&str; 6] = [
    "synthetic",
    "--app.structure=bag",
    "--app.task-count=400",
    "--app.bag-max-running=16",
    "--app.task-sleep=0.015",
    "--retries=5",
];

pub(crate) fn bag(more: &[&str]) -> Pool {
    Pool::start(&[&BAG[..], &NODES[..], more].concat())
}
