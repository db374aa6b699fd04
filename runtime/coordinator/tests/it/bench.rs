//! Runs of the probe's driver.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, mpsc},
    time::{Duration, Instant},
};
use taps_bundle::{Bundle, Digest, Source};
use taps_coordinator::{
    Durable, History, Plan, ResultFiles, RunError, RunHandle, RunLog, RunOutcome, TaskRoutes,
};
use taps_engine::{
    Executor, Limits,
    core::{FaultSettings, Settings},
};
use taps_payload::{SegmentStore, StoreOptions};
use taps_records::{EventLog, LogEvent, LogReader, Logger};
use taps_sandbox::{
    AotCache, InstancePolicy, Interrupt, LoadedComponent, PoolSize, RunContext, Sandbox,
    TaskRuntime,
};
use taps_schema::Kernels;

/// Longer than any run here takes; a run that needs longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

struct Probe {
    bundle: Bundle,
    // Keeps the epochs ticking and the code cached.
    sandbox: Sandbox,
}

/// The probe, compiled once for all tests of this process.
fn probe() -> &'static Probe {
    static PROBE: OnceLock<Probe> = OnceLock::new();
    PROBE.get_or_init(|| {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("taps-coordinator-aot");
        let size = PoolSize {
            workers: 16,
            per_worker: 1,
        };
        let cache = AotCache::open(&cache).expect("a directory of our own");
        let sandbox = Sandbox::new(size, Some(cache)).expect("a thread can be started");
        let wasm = std::fs::read(taps_fixtures::probe()).expect("it was built");
        let described = sandbox
            .describe("probe", &wasm)
            .expect("it says what it is");
        let digest = Digest::of(&wasm);
        let bundle = Bundle::from_component(described, wasm.into(), digest, Source::Embedded)
            .expect("it is sound");
        Probe { bundle, sandbox }
    })
}

fn load() -> LoadedComponent {
    let probe = probe();
    probe
        .sandbox
        .load(&probe.bundle, 0, Interrupt::Epoch)
        .expect("it compiles")
}

/// A run to be.
pub(crate) struct Run {
    pub(crate) config: serde_json::Value,
    pub(crate) settings: Settings,
    pub(crate) handle: RunHandle,
    pub(crate) log: Option<PathBuf>,
    pub(crate) history: Option<History>,
    pub(crate) results: Option<PathBuf>,
    pub(crate) faults: Option<FaultSettings>,
}

/// What is left of a run.
pub(crate) struct Ended {
    pub(crate) outcome: RunOutcome,
    pub(crate) events: Vec<LogEvent>,
    pub(crate) log: Result<(), taps_records::LogError>,
}

impl Run {
    /// The probe with an action, a number of tasks, and the number that some actions use.
    pub(crate) fn new(action: &str, count: u32, bytes: u64) -> Self {
        Self {
            config: serde_json::json!({"action": action, "count": count, "bytes": bytes}),
            settings: Settings::default(),
            handle: RunHandle::default(),
            log: None,
            history: None,
            results: None,
            faults: None,
        }
    }

    pub(crate) fn max_outstanding(mut self, tasks: usize) -> Self {
        self.settings.max_outstanding = tasks;
        self
    }

    /// Runs it; fails when it hangs.
    pub(crate) fn on(self, executor: Arc<dyn Executor>) -> Ended {
        self.try_on(|_| executor).expect("it starts")
    }

    /// Runs it on sandboxes.
    pub(crate) fn on_thread_pool(self, threads: u32) -> Ended {
        let started = self.try_on(|context| {
            let runtime = TaskRuntime::new(
                vec![load()],
                probe().bundle.manifest(),
                Arc::clone(context),
                InstancePolicy::Fresh,
            );
            let runtime = Arc::new(runtime.expect("it links"));
            Arc::new(taps_executors::ThreadPool::new(
                "thread-pool",
                threads,
                "here".into(),
                8 << 30,
                taps_executors::sandboxed(runtime),
            ))
        });
        started.expect("it starts")
    }

    pub(crate) fn try_on(
        self,
        executor: impl FnOnce(&Arc<RunContext>) -> Arc<dyn Executor>,
    ) -> Result<Ended, RunError> {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = self.log.unwrap_or_else(|| folder.path().join("events.log"));
        let past = self.history.as_ref().map_or(0, |history| history.last_ns);
        let start = Instant::now()
            .checked_sub(Duration::from_nanos(past))
            .expect("the machine runs for longer");
        let events = EventLog::create(&path).expect("it can be written");
        let log = Arc::new(RunLog::new(events, Arc::new(Logger::new(None)), start));
        let store = StoreOptions {
            huge_pages: false,
            ..StoreOptions::default()
        };
        let context = Arc::new(RunContext {
            start,
            store: SegmentStore::new(store).expect("memfds work"),
            sink: Plan::sink(&log),
            grants: Vec::new(),
            environment: Vec::new(),
            inline_max_bytes: 64 << 10,
            map_min_bytes: 0,
            verify_payloads: false,
            data: None,
            programs: None,
        });
        let plan = Plan {
            driver: load(),
            routes: TaskRoutes::of(&probe().bundle),
            executor: executor(&context),
            context,
            log: Arc::clone(&log),
            settings: self.settings,
            limits: Limits::default(),
            config: self.config.to_string(),
            seed: 1,
            kernels: Kernels::Host,
            faults: self.faults,
            history: self.history,
            results: self
                .results
                .map(|path| ResultFiles::new(path, Durable::All)),
            watchdog: None,
            memo: None,
        };
        let handle = self.handle;
        let what = self.config.to_string();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = sender.send(taps_coordinator::run(plan, &handle, None));
        });
        // No progress is shown: nothing but the right wake-ups keeps the run going.
        let outcome = receiver
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("hangs: {what}"))?;
        thread.join().expect("no panic");
        let log = log.close();
        let mut events = Vec::new();
        if log.is_ok() {
            let mut reader = LogReader::open(&path).expect("it was just written");
            while let Some(event) = reader.next_event().expect("whole") {
                events.push(event);
            }
        }
        Ok(Ended {
            outcome,
            events,
            log,
        })
    }
}

impl Ended {
    /// The driver's report, all of whose checks passed.
    #[track_caller]
    pub(crate) fn passed(&self) -> taps_schema::Report {
        let report = self.report();
        assert!(report.passed(), "{report:?}");
        assert!(self.log.is_ok(), "{:?}", self.log);
        report
    }

    #[track_caller]
    pub(crate) fn report(&self) -> taps_schema::Report {
        match &self.outcome.driver {
            Some(Ok(Ok(report))) => serde_json::from_str(report).expect("a report"),
            other => panic!("{other:?}"),
        }
    }
}
