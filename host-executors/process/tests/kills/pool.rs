//! A pool of processes, and what it says.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};
use taps_engine::{
    Argument, Attempt, AttemptId, AttemptReport, EventSink, Executor as _, ExecutorEvent,
    FaultAction, FaultPlan, FaultPoint, Limits, OutcomeKind, Running, TaskId, WorkerId,
};
use taps_payload::{Location, SegmentStore, SharedAccount, StoreOptions};
use taps_process_pool::{ProcessPool, ProcessPoolOptions, WorkerSetup, account_slots};
use taps_sandbox::{GuestSink, InstancePolicy, Interrupt, LogLevel, RunContext, Speaker, Stream};
use taps_schema::Kernels;

/// Nothing here takes longer, unless it hangs.
const LONGEST: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<ExecutorEvent>>,
    more: Condvar,
}

impl EventSink for Heard {
    fn deliver(&self, events: Vec<ExecutorEvent>) {
        self.events.lock().expect("no panic").extend(events);
        self.more.notify_all();
    }
}

struct Deaf;

impl GuestSink for Deaf {
    fn log(&self, _: Speaker, _: LogLevel, _: &str) {}

    fn output(&self, _: Speaker, _: Stream, _: &str, _: u64) {}
}

/// A pool that runs the task `noop` of `synthetic`.
pub(crate) struct Bench {
    pool: ProcessPool,
    heard: Arc<Heard>,
    component: u32,
    task: u32,
    next: u64,
    _cache: tempfile::TempDir,
}

impl Bench {
    /// A pool all of whose workers have joined.
    pub(crate) fn start(nodes: u32, workers_per_node: u32) -> Self {
        let faults = taps_apps::faults().expect("built in");
        let bundles = taps_apps::bundles().expect("built in");
        let synthetic = bundles
            .into_iter()
            .find(|bundle| bundle.app().name == "synthetic");
        let bundle = synthetic.expect("built in").with_faults(&faults);
        let manifest = bundle.manifest();
        let mut tasks = manifest.app.tasks.iter().zip(&manifest.routes);
        let found = tasks.find(|(task, _)| task.name == "noop");
        let (_, route) = found.expect("the app has it");
        let (component, task) = (route.component, route.task);
        let workers = nodes * workers_per_node;
        let account = SharedAccount::create(1 << 30, account_slots(workers)).expect("memfds work");
        let store = StoreOptions {
            huge_pages: false,
            account: account.slot(0),
            ..StoreOptions::default()
        };
        let context = RunContext {
            start: Instant::now(),
            store: SegmentStore::new(store.clone()).expect("memfds work"),
            sink: Box::new(Deaf),
            grants: Vec::new(),
            environment: Vec::new(),
            inline_max_bytes: 64 << 10,
            map_min_bytes: 0,
            verify_payloads: false,
            data: None,
            programs: None,
        };
        let cache = tempfile::tempdir().expect("temporary directory");
        let options = ProcessPoolOptions {
            nodes,
            workers_per_node,
            host: "here".to_owned(),
            memory_bytes: 8 << 30,
            heartbeat_timeout: LONGEST,
            start_timeout: LONGEST,
            look_ahead: 0,
        };
        let setup = WorkerSetup {
            bundle: Arc::new(bundle),
            cache_directory: Some(cache.path().join("compiled")),
            interrupt: Interrupt::Epoch,
            policy: InstancePolicy::Fresh,
            notes: Vec::new(),
            context: Arc::new(context),
            store,
            account,
        };
        let pool = ProcessPool::new(options, setup).expect("memfds work");
        let heard = Arc::new(Heard::default());
        let sink: Arc<dyn EventSink> = Arc::<Heard>::clone(&heard);
        pool.start(sink).expect("processes can be started");
        let mut bench = Self {
            pool,
            heard,
            component,
            task,
            next: 0,
            _cache: cache,
        };
        for worker in 0..workers {
            bench.joined(WorkerId(worker));
        }
        bench
    }

    /// Sends a task that sleeps to a worker.
    pub(crate) fn submit(
        &mut self,
        worker: WorkerId,
        sleep: Duration,
        fault: Option<(FaultAction, FaultPoint)>,
    ) -> AttemptId {
        self.next += 1;
        let id = AttemptId {
            task: TaskId(self.next),
            number: 0,
        };
        // A `Work` of `synthetic`: the sleep in nanoseconds, no kernel, and no output.
        let mut work = [0; 48];
        work[..8].copy_from_slice(&(sleep.as_nanos() as u64).to_le_bytes());
        let attempt = Attempt {
            generation: taps_engine::Generation::default(),
            id,
            component: self.component,
            task: self.task,
            name: "noop".into(),
            arguments: vec![Argument {
                location: Location::Inline(work.as_slice().into()),
                media_type: "application/octet-stream".into(),
            }],
            limits: Limits {
                memory_bytes: 64 << 20,
                ..Limits::default()
            },
            seed: self.next,
            kernels: Kernels::Host,
            digests: Vec::new(),
            fault: fault.map(|(action, point)| FaultPlan {
                action,
                point,
                mid_us: 20_000,
                slow_ms: 20,
                seed: self.next,
            }),
            demands: None,
        };
        self.pool.submit(vec![(Some(worker), attempt)]);
        id
    }

    /// Waits for an event and takes it.
    fn take<T>(&mut self, what: &str, wanted: impl Fn(&ExecutorEvent) -> Option<T>) -> T {
        let end = Instant::now() + LONGEST;
        let mut events = self.heard.events.lock().expect("no panic");
        loop {
            let found = events.iter().enumerate();
            let found = found.filter_map(|(position, event)| Some((position, wanted(event)?)));
            let first = { found }.next();
            if let Some((position, found)) = first {
                events.remove(position);
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never {what}: {events:?}");
            let waited = self.heard.more.wait_timeout(events, left);
            events = waited.expect("no panic").0;
        }
    }

    pub(crate) fn joined(&mut self, worker: WorkerId) {
        self.take(&format!("{worker} joined"), |event| match event {
            ExecutorEvent::WorkerJoined(info) if info.id == worker => Some(()),
            _ => None,
        });
    }

    /// Why a worker was lost, and what it ran.
    pub(crate) fn lost(&mut self, worker: WorkerId) -> (String, Running) {
        self.take(&format!("{worker} lost"), |event| match event {
            ExecutorEvent::WorkerLost {
                worker: lost,
                reason,
                running,
            } if *lost == worker => Some((reason.clone(), *running)),
            _ => None,
        })
    }

    pub(crate) fn report(&mut self, id: AttemptId) -> AttemptReport {
        self.take(&format!("{id:?} finished"), |event| match event {
            ExecutorEvent::Finished(report) if report.id == id => {
                Some(AttemptReport::clone(report))
            }
            _ => None,
        })
    }

    pub(crate) fn outcome(&mut self, id: AttemptId) -> OutcomeKind {
        self.report(id).outcome()
    }

    /// Nothing was said that nobody expected.
    pub(crate) fn nothing_else(&self, what: &str) {
        let events = self.heard.events.lock().expect("no panic");
        assert!(events.is_empty(), "{what}: {events:?}");
    }

    /// Ends the pool.
    pub(crate) fn end(self) {
        self.pool.shutdown();
    }
}

/// What [`left`] gives when all is well.
pub(crate) const NOTHING_LEFT: [String; 0] = [];

/// Processes of this program but this one, and named shared memory.
pub(crate) fn left() -> Vec<String> {
    let exe = fs::read_link("/proc/self/exe").expect("it is there");
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").expect("it is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(number) = name.parse::<u32>() else {
            continue;
        };
        let ours = number != std::process::id()
            && fs::read_link(entry.path().join("exe")).is_ok_and(|found| found == exe)
            && is_below_this_one(&entry.path());
        if ours {
            left.push(name);
        }
    }
    let shared = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = shared.map(|entry| entry.file_name().to_string_lossy().into_owned());
    left.extend(names.filter(|name| name.contains("taps")));
    left
}

/// Tests of this program may run at the same time: their processes are below another one. What has lost its
/// parents may be ours.
fn is_below_this_one(process: &Path) -> bool {
    let mut ancestor = parent(process);
    if ancestor == Some(1) {
        return true;
    }
    while let Some(found) = ancestor.filter(|found| *found > 1) {
        if found == std::process::id() {
            return true;
        }
        ancestor = parent(&PathBuf::from(format!("/proc/{found}")));
    }
    false
}

fn parent(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(1);
    fields.next()?.parse().ok()
}

/// Processes of the same user that have nothing to do with a pool, one of them in a group of its own.
pub(crate) struct Canaries([Child; 2]);

impl Canaries {
    pub(crate) fn start() -> Self {
        let sleep = |group: Option<i32>| {
            let mut command = Command::new("sleep");
            command.arg("600");
            if let Some(group) = group {
                command.process_group(group);
            }
            command.spawn().expect("start a canary")
        };
        Self([sleep(None), sleep(Some(0))])
    }

    pub(crate) fn live(mut self) {
        for canary in &mut self.0 {
            let ended = canary.try_wait().expect("wait");
            assert!(ended.is_none(), "a canary is dead: {ended:?}");
            canary.kill().expect("it lives");
            canary.wait().expect("it was killed");
        }
    }
}
