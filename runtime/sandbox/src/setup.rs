//! How a run is set up, for workers in other processes and on other machines, and what they make of it.

use crate::{
    AotCache, Grant, InstancePolicy, Interrupt, PoolSize, RunContext, Said, Sandbox, TaskRuntime,
    Voice,
};
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use taps_bundle::Bundle;
use taps_payload::SegmentStore;
use taps_programs::Programs;
use taps_transform::{DataPlane, Ownership, PlaneConfig};

/// All of a run's [`RunContext`] that can travel, and how its sandboxes are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSetup {
    /// When the run began.
    pub began: Moment,
    /// How guests are interrupted.
    pub interrupt: Interrupt,
    /// Where sandboxes come from.
    pub policy: InstancePolicy,
    /// Notes for every record.
    pub notes: Vec<String>,
    /// Paths that the run grants.
    pub grants: Vec<Grant>,
    /// Environment variables that guests see.
    pub environment: Vec<(String, String)>,
    /// Results up to this size travel inline.
    pub inline_max_bytes: u64,
    /// Payloads below this size are read into a window, and not mapped there.
    pub map_min_bytes: u64,
    /// Results get a digest, and arguments are compared with it.
    pub verify_payloads: bool,
    /// The transformer of the run, where there is one.
    pub data: Option<PlaneConfig>,
}

/// What a worker has of its own for a run.
pub struct WorkerParts<'a, V> {
    /// Directory of the compiled-code cache.
    pub cache: Option<&'a Path>,
    /// Where its payloads are.
    pub store: SegmentStore,
    /// Makes one that takes what guests say, and operations of the data plane.
    pub voice: V,
    /// Native programs that tasks may call.
    pub programs: Option<Programs>,
}

/// What is ready to run the tasks of a bundle, on one worker thread.
pub struct WorkerRun {
    /// Keeps the clock that interrupts guests.
    pub sandbox: Sandbox,
    /// What the sandboxes share.
    pub context: Arc<RunContext>,
    /// The compiled tasks.
    pub runtime: TaskRuntime,
}

impl RunSetup {
    /// That of a run.
    pub fn of(
        run: &RunContext,
        interrupt: Interrupt,
        policy: InstancePolicy,
        notes: Vec<String>,
    ) -> Self {
        Self {
            began: Moment::of(run.start),
            interrupt,
            policy,
            notes,
            grants: run.grants.clone(),
            environment: run.environment.clone(),
            inline_max_bytes: run.inline_max_bytes,
            map_min_bytes: run.map_min_bytes,
            verify_payloads: run.verify_payloads,
            data: run.data.as_ref().map(|plane| plane.config().clone()),
        }
    }

    /// Compiles and links a bundle, and opens the data plane. Code compiled before is in the cache, if its directory
    /// can serve.
    ///
    /// # Errors
    /// A component that cannot be compiled or linked, and a data plane that cannot be opened.
    pub fn open<F: Fn(Said) + Send + Sync + 'static>(
        self,
        bundle: &Bundle,
        own: WorkerParts<'_, impl Fn() -> Voice<F>>,
    ) -> Result<WorkerRun, Box<dyn Error + Send + Sync>> {
        let cache = own
            .cache
            .and_then(|directory| AotCache::open(directory).ok());
        let pool = PoolSize {
            workers: 1,
            per_worker: 2,
        };
        let sandbox = Sandbox::new(pool, cache)?.sized_for(bundle.manifest());
        let loaded = sandbox.load_all(bundle, self.interrupt)?;
        let start = self.began.here();
        let data = self
            .data
            .map(|config| DataPlane::open(config, own.store.clone(), Ownership::Worker))
            .transpose()?;
        if let Some(plane) = data
            .as_ref()
            .filter(|plane| plane.config().transformer.metrics)
        {
            plane.record_to(Arc::new((own.voice)()), start);
        }
        let context = Arc::new(RunContext {
            start,
            store: own.store,
            sink: Box::new((own.voice)()),
            grants: self.grants,
            environment: self.environment,
            inline_max_bytes: self.inline_max_bytes,
            map_min_bytes: self.map_min_bytes,
            verify_payloads: self.verify_payloads,
            data,
            programs: own.programs,
        });
        let manifest = bundle.manifest();
        let runtime = TaskRuntime::new(loaded, manifest, Arc::clone(&context), self.policy)?;
        Ok(WorkerRun {
            sandbox,
            context,
            runtime: self.notes.into_iter().fold(runtime, TaskRuntime::with_note),
        })
    }
}

/// A moment that other processes and machines can tell, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Of the machine that says so, since it was started; empty where it is not known.
    boot: String,
    /// On its monotonic clock, in nanoseconds.
    monotonic_ns: u64,
    /// Nanoseconds since 1970.
    unix_ns: u64,
}

impl Moment {
    /// Says it for others.
    pub fn of(moment: Instant) -> Self {
        let (now, monotonic) = both_clocks();
        let passed = now.saturating_duration_since(moment);
        let ago = |now: Duration| now.saturating_sub(passed).as_nanos() as u64;
        Self {
            boot: boot(),
            monotonic_ns: ago(monotonic),
            unix_ns: ago(wall()),
        }
    }

    /// The moment on this process's clock: exactly, where the machine is the same, else as well as both tell the
    /// time of day.
    pub fn here(&self) -> Instant {
        let (now, monotonic) = both_clocks();
        let passed = if !self.boot.is_empty() && self.boot == boot() {
            monotonic.saturating_sub(Duration::from_nanos(self.monotonic_ns))
        } else {
            wall().saturating_sub(Duration::from_nanos(self.unix_ns))
        };
        now.checked_sub(passed).unwrap_or(now)
    }
}

/// One moment on both clocks. Read a few times, and the nearest pair taken: a pause between the two readings would
/// shift all times of a worker against those of the run.
fn both_clocks() -> (Instant, Duration) {
    let read = || {
        let now = Instant::now();
        let monotonic = monotonic();
        (now.elapsed(), (now, monotonic))
    };
    let mut nearest = read();
    for _ in 0..7 {
        let next = read();
        if next.0 < nearest.0 {
            nearest = next;
        }
    }
    nearest.1
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
