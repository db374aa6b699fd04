//! The bridge to an engine, and the executor that speaks to it.
//!
//! ```text
//!   submit ─► outbox, groups ─► writer thread ── frames ──► bridge
//!   deliver ◄─ events thread ◄─ reader thread ◄─ frames ───┘
//! ```
//!
//! Reader and writer are apart, so that a full socket cannot stop both ends. What is delivered may run the driver,
//! which may wait for bytes that only the reader brings: hence a thread of its own for events.

mod arguments;
mod grouping;
mod guard;
mod kept;
mod process;
mod reports;
mod survey;
mod threads;

use crate::{
    message::{AttemptName, PROTOCOL, Settings, TaskKey},
    package::Package,
};
use arguments::Sendable;
use grouping::{Groups, Rules};
pub use guard::serve_guard;
use kept::KeptResults;
use parking_lot::{Condvar, Mutex};
use process::Guarded;
use reports::Workers;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};
pub use survey::{EnginePackage, Interpreter, SurveyError, survey};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Capabilities, EventSink, Executor, ExecutorEvent, Failure,
    FetchError, OutcomeKind, StartError, TaskId, WorkerId,
};
use taps_payload::SegmentId;
use taps_sandbox::{LogLevel, RunContext};

/// How long the bytes of a result may take.
const FETCH_LIMIT: Duration = Duration::from_mins(5);

/// How long a bridge may take to end after its engine has.
const AFTER_ENGINE: Duration = Duration::from_secs(5);

/// The engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalEngine {
    /// Dask Distributed.
    Dask,
    /// Ray.
    Ray,
    /// Threads of Parsl.
    ParslLocal,
    /// Parsl's high-throughput executor.
    ParslHtex,
    /// TaskVine.
    TaskVine,
    /// Globus Compute.
    Globus,
    /// HyperQueue.
    HyperQueue,
}

impl ExternalEngine {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Dask,
        Self::Ray,
        Self::ParslLocal,
        Self::ParslHtex,
        Self::TaskVine,
        Self::Globus,
        Self::HyperQueue,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dask => "dask",
            Self::Ray => "ray",
            Self::ParslLocal => "parsl-local",
            Self::ParslHtex => "parsl-htex",
            Self::TaskVine => "taskvine",
            Self::Globus => "globus",
            Self::HyperQueue => "hyperqueue",
        }
    }

    /// Whether results can stay with the engine, and tasks be forwarded to it with references to them.
    pub fn keeps_results(self) -> bool {
        matches!(self, Self::Dask | Self::Ray)
    }

    /// Whether the engine itself passes a cancel on to a task that runs.
    fn cancels_running(self) -> bool {
        matches!(self, Self::Dask | Self::Ray)
    }
}

/// Takes lines for a log.
pub type LogLine = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// How to reach an engine, and what to tell it.
pub struct BridgeOptions {
    /// Which.
    pub engine: ExternalEngine,
    /// Interpreter that has the engine's package.
    pub python: PathBuf,
    /// The executor's fields, as configured.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Arguments with which this program becomes a guard.
    pub guard_role: Vec<OsString>,
    /// Where the bridge and its engine write what they have to say.
    pub log: PathBuf,
    /// How long the engine may take to be ready.
    pub start_timeout: Duration,
    /// How long the engine may take to end.
    pub stop_timeout: Duration,
    /// Most attempts of one submission to the engine.
    pub batch_max: usize,
    /// How long an attempt waits for company while the engine is busy.
    pub batch_linger: Duration,
    /// Results stay with the engine.
    pub keep: bool,
    /// Workers are on this machine, or see its files.
    pub sees_host_paths: bool,
    /// A directory of the run that all workers see. Its owner removes it; the guard does for a run that was killed.
    pub shared_scratch: Option<PathBuf>,
    /// This program, where workers find it.
    pub binary: Option<PathBuf>,
    /// Version of this program.
    pub version: &'static str,
    /// Workers that are expected.
    pub workers: u32,
    /// Takes lines for the run's log.
    pub log_line: LogLine,
}

/// An executor that is somebody else's engine.
pub struct External {
    shared: Arc<Shared>,
    running: Mutex<Option<RunningBridge>>,
}

/// A bridge that runs, and who serves it.
struct RunningBridge {
    guard: Guarded,
    threads: Vec<JoinHandle<()>>,
}

/// The bytes of a result that the engine kept.
type Fetched = Result<Vec<u8>, FetchError>;

/// What the threads share.
struct Shared {
    options: BridgeOptions,
    context: Arc<RunContext>,
    package: Package,
    scratch: PathBuf,
    cancel_dir: Option<PathBuf>,
    state: Mutex<State>,
    /// There is something for the writer.
    wake: Condvar,
    fetches: Mutex<FxHashMap<u64, Sender<Fetched>>>,
    last_fetch: AtomicU64,
    workers: Workers,
    events: Mutex<Option<Sender<Vec<ExecutorEvent>>>>,
}

/// What is on its way.
struct State {
    outbox: VecDeque<Outgoing>,
    groups: Groups<Sendable>,
    out: FxHashMap<AttemptId, Out>,
    /// Attempts of each group that are out, and how many there were.
    group_sizes: FxHashMap<u64, (usize, usize)>,
    last_group: u64,
    kept: KeptResults,
    /// Segments that the engine has under that key.
    puts: FxHashMap<SegmentId, String>,
    /// Tasks that may have ended their worker: each goes alone.
    suspects: FxHashSet<TaskId>,
    stopping: bool,
    failed: bool,
}

/// An attempt that the engine has.
struct Out {
    key: TaskKey,
    name: Arc<str>,
    group: u64,
    /// Positions of its arguments that the engine keeps.
    kept_arguments: Vec<u32>,
}

/// Something for the bridge.
enum Outgoing {
    /// An attempt that is not grouped.
    Single(Sendable),
    Put {
        key: String,
        bytes: Vec<u8>,
    },
    Release(Vec<String>),
    Fetch {
        request: u64,
        key: TaskKey,
        index: u32,
    },
    Cancel(Vec<AttemptName>),
    Package,
    Shutdown,
}

impl External {
    /// An executor; nothing is started yet.
    pub fn new(
        options: BridgeOptions,
        context: Arc<RunContext>,
        package: Package,
    ) -> std::io::Result<Self> {
        let scratch = process::scratch(options.engine)?;
        let visible = options.shared_scratch.as_deref().or_else(|| {
            let sees = options.sees_host_paths;
            sees.then_some(scratch.as_path())
        });
        let cancel_dir = visible.map(|directory| directory.join("cancel"));
        if let Some(directory) = &cancel_dir {
            fs::create_dir_all(directory)?;
        }
        fs::write(package_path(&options, &scratch), package.bytes())?;
        let rules = Rules {
            batch_max: options.batch_max,
            linger: options.batch_linger,
            workers: options.workers as usize,
        };
        let state = State {
            outbox: VecDeque::new(),
            groups: Groups::new(rules),
            out: FxHashMap::default(),
            group_sizes: FxHashMap::default(),
            last_group: 0,
            kept: KeptResults::default(),
            puts: FxHashMap::default(),
            suspects: FxHashSet::default(),
            stopping: false,
            failed: false,
        };
        let shared = Shared {
            context,
            package,
            scratch,
            cancel_dir,
            state: Mutex::new(state),
            wake: Condvar::new(),
            fetches: Mutex::default(),
            last_fetch: AtomicU64::new(0),
            workers: Workers::default(),
            events: Mutex::default(),
            options,
        };
        Ok(Self {
            shared: Arc::new(shared),
            running: Mutex::default(),
        })
    }
}

/// Where the package lies for workers that see it.
fn package_path(options: &BridgeOptions, scratch: &Path) -> PathBuf {
    let directory = options.shared_scratch.as_deref().unwrap_or(scratch);
    directory.join("package")
}

impl Executor for External {
    fn name(&self) -> &'static str {
        self.shared.options.engine.name()
    }

    fn capabilities(&self) -> Capabilities {
        let options = &self.shared.options;
        Capabilities {
            places: false,
            keeps_results: options.keep,
            cancels_running: self.shared.cancel_dir.is_some() || options.engine.cancels_running(),
            kills_workers: false,
            sees_host_paths: options.sees_host_paths,
            reports_worker_loss: true,
        }
    }

    fn start(&self, sink: Arc<dyn EventSink>) -> Result<(), StartError> {
        let shared = &self.shared;
        let refused = |message: String| StartError::Engine {
            engine: shared.options.engine.name(),
            message,
        };
        let started = process::start(&shared.options, &shared.settings(), &shared.scratch)
            .map_err(refused)?;
        let (version, python) = (&started.version, &started.python);
        let (engine, workers) = (shared.options.engine.name(), started.workers);
        let line = format!("{engine} {version} on Python {python}, {workers} workers");
        (shared.options.log_line)(LogLevel::Info, &line);
        for note in &started.notes {
            (shared.options.log_line)(LogLevel::Info, note);
        }
        shared.state.lock().groups.set_workers(workers as usize);
        let threads = threads::serve(shared, started.reader, started.writer, sink)
            .map_err(|error| refused(format!("start a thread: {error}")))?;
        *self.running.lock() = Some(RunningBridge {
            guard: started.guard,
            threads,
        });
        Ok(())
    }

    fn submit(&self, batch: Vec<(Option<WorkerId>, Attempt)>) {
        let shared = &self.shared;
        let mut ended = Vec::new();
        for (_, attempt) in batch {
            if let Err(report) = shared.queue(attempt) {
                ended.push(ExecutorEvent::Finished(report));
            }
        }
        shared.wake.notify_all();
        shared.tell(ended);
    }

    fn cancel(&self, attempts: &[AttemptId]) {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        let waiting = state.groups.take(|one| attempts.contains(&one.id.0));
        let out = attempts.iter().filter(|id| state.out.contains_key(id));
        let names: Vec<AttemptName> = out.copied().map(AttemptName).collect();
        if !names.is_empty() {
            state.outbox.push_back(Outgoing::Cancel(names.clone()));
        }
        drop(state);
        shared.wake.notify_all();
        for name in names {
            if let Some(directory) = &shared.cancel_dir {
                // Without it the task ends by itself, or at its deadline.
                let _ = fs::write(directory.join(name.to_string()), "");
            }
        }
        let cancelled = waiting.into_iter().map(|one| {
            let failure = Failure::new(OutcomeKind::Cancelled, "cancelled before it was sent");
            ExecutorEvent::Finished(Box::new(AttemptReport {
                executions: 0,
                ..AttemptReport::bare(one.id.0, NO_WORKER, Err(failure))
            }))
        });
        shared.tell(cancelled.collect());
    }

    fn freed(&self, segments: &[SegmentId]) {
        let mut state = self.shared.state.lock();
        let keys: Vec<String> = segments
            .iter()
            .filter_map(|id| state.puts.remove(id))
            .collect();
        if !keys.is_empty() {
            state.outbox.push_back(Outgoing::Release(keys));
            drop(state);
            self.shared.wake.notify_all();
        }
    }

    fn fetch(&self, key: &str) -> Result<Vec<u8>, FetchError> {
        self.shared.fetch(key)
    }

    fn release(&self, keys: &[Arc<str>]) {
        let mut state = self.shared.state.lock();
        let dropped: Vec<String> = keys
            .iter()
            .filter_map(|key| state.kept.release(key))
            .map(|key| key.to_string())
            .collect();
        if !dropped.is_empty() {
            state.outbox.push_back(Outgoing::Release(dropped));
            drop(state);
            self.shared.wake.notify_all();
        }
    }

    fn shutdown(&self) {
        let shared = &self.shared;
        {
            let mut state = shared.state.lock();
            state.stopping = true;
            state.outbox.push_back(Outgoing::Shutdown);
        }
        shared.wake.notify_all();
        if let Some(mut running) = self.running.lock().take() {
            running
                .guard
                .ends_within(shared.options.stop_timeout + AFTER_ENGINE);
            // Ends what has not ended.
            drop(running.guard);
            *shared.events.lock() = None;
            for thread in running.threads {
                // None of them panics; and if one did, there is nothing left to wait for.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.shutdown();
        // The guard has, if there was one.
        let _ = fs::remove_dir_all(&self.shared.scratch);
    }
}

/// What attempts have for a worker of which nothing is known.
const NO_WORKER: WorkerId = WorkerId(u32::MAX);

impl Shared {
    fn settings(&self) -> Settings {
        let options = &self.options;
        Settings {
            run: self
                .scratch
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            version: options.version,
            protocol: PROTOCOL,
            digest: self.package.digest().to_owned(),
            path: package_path(options, &self.scratch),
            binary: options.binary.clone(),
            cancel_dir: self.cancel_dir.clone(),
            keep: options.keep,
        }
    }

    /// Tells the run, from the thread that does so.
    fn tell(&self, events: Vec<ExecutorEvent>) {
        if !events.is_empty()
            && let Some(sender) = &*self.events.lock()
        {
            // The run has ended where nobody listens.
            let _ = sender.send(events);
        }
    }

    /// Nothing that is outstanding will end.
    fn fail(&self, message: &str) {
        {
            let mut state = self.state.lock();
            if state.stopping || std::mem::replace(&mut state.failed, true) {
                return;
            }
        }
        self.fetches.lock().clear();
        let message = format!("{}: {message}", self.options.engine.name());
        let failure = Failure::new(OutcomeKind::EngineError, message);
        self.tell(vec![ExecutorEvent::Failed(failure)]);
    }

    fn fetch(&self, key: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |lost, reason: String| FetchError { lost, reason };
        let Some((output, generation)) = taps_engine::core::parse_forward_key(key) else {
            return Err(failed(true, format!("no engine keeps {key}")));
        };
        let request = self.last_fetch.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = channel();
        self.fetches.lock().insert(request, sender);
        {
            let mut state = self.state.lock();
            if state.failed {
                return Err(failed(false, format!("fetch {key}: the engine is gone")));
            }
            let task = output.task;
            state.outbox.push_back(Outgoing::Fetch {
                request,
                key: TaskKey { task, generation },
                index: output.index,
            });
        }
        self.wake.notify_all();
        match answer.recv_timeout(FETCH_LIMIT) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => {
                Err(failed(false, format!("fetch {key}: the engine is gone")))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.fetches.lock().remove(&request);
                let limit = FETCH_LIMIT.as_secs();
                Err(failed(
                    false,
                    format!("fetch {key}: nothing came for {limit} s"),
                ))
            }
        }
    }

    /// Attempts are sent: they are out from here on. Gives the number of their group.
    fn sent(state: &mut State, group: &[Sendable]) {
        state.last_group += 1;
        let number = state.last_group;
        state.group_sizes.insert(number, (group.len(), group.len()));
        for one in group {
            if let Some(out) = state.out.get_mut(&one.id.0) {
                out.group = number;
            }
        }
    }
}
