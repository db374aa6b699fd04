//! A worker of a run, with one component.

use crate::guest::Guest;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taps_bundle::{Bundle, Digest, Source};
use taps_engine::{
    Argument, Attempt, AttemptId, AttemptReport, Failure, Limits, OutcomeKind, TaskId, WorkerId,
};
use taps_payload::{FileRef, Location, SegmentStore, StoreOptions, WritableSegment};
use taps_sandbox::{
    CancelToken, Grant, GuestSink, InstancePolicy, Interrupt, LogLevel, PoolSize, RunContext,
    Sandbox, Speaker, Stream, TaskRuntime, TaskWorker,
};
use taps_schema::{
    AppDescription, ConfigField, FieldKind, Kernels, Nans, TaskDescription, WIT_VERSION,
};

/// Heap limit that has room for the guests of these tests and little more.
pub(crate) const HEAP: u64 = 32 << 20;

/// What guests said.
#[derive(Clone, Default)]
pub(crate) struct Heard(pub(crate) Arc<Mutex<Vec<String>>>);

impl GuestSink for Heard {
    fn log(&self, _: Speaker, level: LogLevel, message: &str) {
        self.0.lock().push(format!("{level:?} {message}"));
    }

    fn output(&self, _: Speaker, stream: Stream, text: &str, dropped_bytes: u64) {
        let line = format!("{stream:?} {dropped_bytes} {text}");
        self.0.lock().push(line);
    }
}

/// How a bench is to be.
pub(crate) struct Setup {
    pub(crate) policy: InstancePolicy,
    pub(crate) grants: Vec<Grant>,
    pub(crate) granted: Vec<&'static str>,
    pub(crate) store: StoreOptions,
    pub(crate) memory: taps_bundle::MemoryProfile,
    pub(crate) inline_max_bytes: u64,
    pub(crate) interrupt: Interrupt,
    pub(crate) nans: Nans,
    /// With the tasks of faults.
    pub(crate) faults: bool,
    pub(crate) killer: Option<taps_sandbox::Killer>,
    pub(crate) data: Option<Arc<taps_transform::DataPlane>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: InstancePolicy::Fresh,
            grants: Vec::new(),
            granted: Vec::new(),
            store: StoreOptions {
                huge_pages: false,
                ..StoreOptions::default()
            },
            memory: taps_bundle::MemoryProfile::Auto,
            inline_max_bytes: 64 << 10,
            interrupt: Interrupt::Epoch,
            nans: Nans::Canonical,
            faults: false,
            killer: None,
            data: None,
        }
    }
}

impl Setup {
    pub(crate) fn policy(policy: InstancePolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }
}

/// A worker and what it works with.
pub(crate) struct Bench {
    pub(crate) runtime: Arc<TaskRuntime>,
    pub(crate) worker: TaskWorker,
    pub(crate) run: Arc<RunContext>,
    pub(crate) heard: Heard,
    names: Vec<String>,
    next: u64,
    // Keeps the epochs ticking.
    _sandbox: Sandbox,
}

/// A description with these tasks; `granted` names the tasks that may reach all granted paths.
pub(crate) fn description<'a>(
    tasks: impl Iterator<Item = &'a str>,
    grants: &[Grant],
    granted: &[&str],
) -> AppDescription {
    let fields: Vec<String> = grants.iter().map(|grant| grant.field.clone()).collect();
    AppDescription {
        name: "hand-made".into(),
        version: "1.0.0".into(),
        wit_version: WIT_VERSION.into(),
        summary: "A test.".into(),
        driver: false,
        config: fields
            .iter()
            .map(|name| ConfigField {
                name: name.clone(),
                kind: FieldKind::InputDir,
                help: String::new(),
                default: None,
                optional: false,
            })
            .collect(),
        tasks: tasks
            .map(|name| TaskDescription {
                name: name.to_owned(),
                help: String::new(),
                parameters: Vec::new(),
                outputs: Vec::new(),
                pure: false,
                grants: if granted.contains(&name) {
                    fields.clone()
                } else {
                    Vec::new()
                },
                programs: Vec::new(),
            })
            .collect(),
        programs: Vec::new(),
        nans: Nans::Canonical,
    }
}

impl Bench {
    /// A bench with the defaults.
    pub(crate) fn new(tasks: &[(&str, &str)]) -> Self {
        Self::with(&Guest::new(tasks), Setup::default())
    }

    /// A bench for a guest.
    pub(crate) fn with(guest: &Guest, setup: Setup) -> Self {
        let names: Vec<String> = guest.names().map(str::to_owned).collect();
        let app = AppDescription {
            nans: setup.nans,
            ..description(guest.names(), &setup.grants, &setup.granted)
        };
        Self::of(app, guest.wasm(), names, setup)
    }

    /// A bench for the tasks of any component.
    pub(crate) fn of(app: AppDescription, wasm: Vec<u8>, names: Vec<String>, setup: Setup) -> Self {
        let digest = Digest::of(&wasm);
        let bundle = Bundle::from_component(app, wasm.into(), digest, Source::Embedded)
            .expect("the bundle is sound");
        let mut manifest = bundle.manifest().clone();
        manifest.components[0].memory = setup.memory;
        let directory = tempfile::tempdir().expect("temporary directory");
        bundle
            .write_directory(directory.path())
            .expect("it can be written");
        std::fs::write(
            directory.path().join(taps_bundle::MANIFEST_FILE),
            serde_json::to_vec(&manifest).expect("plain data"),
        )
        .expect("it can be written");
        let mut bundle = Bundle::from_directory(directory.path()).expect("it was just written");
        if setup.faults {
            bundle = bundle.with_faults(&taps_apps::faults().expect("they are built in"));
        }
        let size = PoolSize {
            workers: 1,
            per_worker: 2,
        };
        let sandbox = Sandbox::new(size, None).expect("a thread can be started");
        let load = |index| {
            let loaded = sandbox.load(&bundle, index, setup.interrupt);
            loaded.expect("it compiles")
        };
        let components = (0..bundle.manifest().components.len()).map(load).collect();
        let heard = Heard::default();
        let run = Arc::new(RunContext {
            start: Instant::now(),
            store: SegmentStore::new(setup.store).expect("memfds work"),
            sink: Box::new(heard.clone()),
            grants: setup.grants,
            environment: vec![("LANG".into(), "C".into())],
            inline_max_bytes: setup.inline_max_bytes,
            map_min_bytes: 0,
            verify_payloads: false,
            data: setup.data,
            programs: None,
        });
        let mut runtime = TaskRuntime::new(
            components,
            bundle.manifest(),
            Arc::clone(&run),
            setup.policy,
        )
        .expect("it links");
        if let Some(killer) = setup.killer {
            runtime = runtime.with_killer(killer);
        }
        let runtime = Arc::new(runtime);
        Self {
            worker: runtime.worker(WorkerId(0)),
            runtime,
            run,
            heard,
            names,
            next: 0,
            _sandbox: sandbox,
        }
    }

    /// An attempt at a task, under limits with room.
    pub(crate) fn attempt(&mut self, task: &str, arguments: Vec<Location>) -> Attempt {
        let index = self.names.iter().position(|name| name == task);
        self.next += 1;
        Attempt {
            id: AttemptId {
                task: TaskId(self.next),
                number: 0,
            },
            component: 0,
            task: index.unwrap_or_else(|| panic!("no task {task}")) as u32,
            generation: taps_engine::Generation::default(),
            name: task.into(),
            arguments: arguments
                .into_iter()
                .map(|location| Argument {
                    location,
                    media_type: "application/octet-stream".into(),
                })
                .collect(),
            limits: Limits {
                timeout_ms: None,
                memory_bytes: HEAP,
                window_bytes: 1 << 30,
            },
            seed: 7,
            kernels: Kernels::Host,
            digests: Vec::new(),
            fault: None,
            demands: None,
        }
    }

    /// Runs an attempt.
    pub(crate) fn run(&mut self, attempt: &Attempt) -> AttemptReport {
        let report = self.worker.run(attempt, &CancelToken::new());
        assert_eq!(report.id, attempt.id);
        report
    }

    /// Runs a task.
    pub(crate) fn call(&mut self, task: &str, arguments: &[Location]) -> AttemptReport {
        let attempt = self.attempt(task, arguments.to_vec());
        self.run(&attempt)
    }

    /// The number that a task gives.
    pub(crate) fn number(&mut self, task: &str, arguments: &[Location]) -> i64 {
        number(&self.call(task, arguments))
    }

    /// How a task fails.
    pub(crate) fn failure(&mut self, task: &str, arguments: &[Location]) -> Failure {
        failure(&self.call(task, arguments))
    }

    /// Publishes bytes as a segment that can be mapped.
    pub(crate) fn segment(&self, bytes: &[u8]) -> Location {
        let segment = self.run.store.create_mappable(bytes.len() as u64);
        self.publish(segment.expect("there is room"), bytes)
    }

    /// Publishes bytes as a segment of whatever kind the store chooses.
    pub(crate) fn any_segment(&self, bytes: &[u8]) -> Location {
        let segment = self.run.store.create(bytes.len() as u64);
        self.publish(segment.expect("there is room"), bytes)
    }

    fn publish(&self, mut segment: WritableSegment, bytes: &[u8]) -> Location {
        segment.write_at(0, bytes).expect("it fits");
        let segment = self.run.store.publish(segment).expect("it is ours");
        Location::Segment(segment.reference())
    }

    /// All bytes of an output.
    pub(crate) fn bytes(&self, location: &Location) -> Vec<u8> {
        match location {
            Location::Inline(bytes) => bytes.to_vec(),
            Location::Segment(segment) => {
                let mut bytes = vec![0; segment.len as usize];
                let found = self.run.store.get(segment.id).expect("it was not freed");
                assert_eq!(found.read_at(0, &mut bytes).expect("readable"), bytes.len());
                bytes
            }
            other => panic!("{other:?} is nowhere here"),
        }
    }

    /// Bytes in use in the payload store.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.run.store.statistics().live_bytes
    }
}

/// The number that a report gives.
pub(crate) fn number(report: &AttemptReport) -> i64 {
    match &report.result {
        Ok(outputs) => match &outputs[0].location {
            Location::Inline(bytes) => {
                i64::from_le_bytes(bytes[..].try_into().expect("eight bytes"))
            }
            other => panic!("a number in {other:?}"),
        },
        Err(failure) => panic!("{failure:?}"),
    }
}

/// The failure that a report gives.
pub(crate) fn failure(report: &AttemptReport) -> Failure {
    report.result.clone().expect_err("the task fails")
}

/// Bytes that travel with the attempt.
pub(crate) fn inline(bytes: &[u8]) -> Location {
    Location::Inline(bytes.into())
}

/// A file payload.
pub(crate) fn file(path: &std::path::Path) -> Location {
    Location::File(FileRef::open(path).expect("it is there"))
}

/// The best of several tries of something that a busy machine can delay.
pub(crate) fn best_of(tries: u32, limit: Duration, mut measure: impl FnMut() -> Duration) {
    let mut best = Duration::MAX;
    for _ in 0..tries {
        best = best.min(measure());
        if best <= limit {
            return;
        }
    }
    panic!("took {best:?} at best, the limit is {limit:?}");
}

/// Asserts the outcome, and shows the failure if it is another.
#[track_caller]
pub(crate) fn assert_outcome(failure: &Failure, outcome: OutcomeKind) {
    assert_eq!(failure.outcome, outcome, "{failure:?}");
}
