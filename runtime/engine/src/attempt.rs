//! The worker protocol: what an attempt carries to a worker, and what comes back.

use crate::{AttemptId, Failure, FaultPlan, Generation, OutcomeKind, WorkerId};
use serde::{Deserialize, Serialize};
use std::{any::Any, sync::Arc};
use taps_payload::{Location, Transfer};
use taps_schema::Kernels;

/// Everything that a worker needs to run a task once. Serialisable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which attempt this is.
    pub id: AttemptId,
    /// Which production of the outputs it is for.
    pub generation: Generation,
    /// Index of the component in the bundle.
    pub component: u32,
    /// Index of the task in that component's description.
    pub task: u32,
    /// Name of the task.
    pub name: Arc<str>,
    /// Arguments, in order.
    pub arguments: Vec<Argument>,
    /// Limits to enforce.
    pub limits: Limits,
    /// Seed of the task: H(run seed, name, n-th submission of that name).
    pub seed: u64,
    /// Who computes dense linear algebra.
    pub kernels: Kernels,
    /// What the bytes of each argument should be, where it is known: XXH3, 64 bit. Empty unless the run
    /// verifies payloads.
    pub digests: Vec<Option<u64>>,
    /// Fault to act out, drawn by the core.
    pub fault: Option<FaultPlan>,
    /// What it occupies, for an engine that places it. `None` means one core and nothing else.
    pub demands: Option<Box<Demands>>,
}

/// What an attempt occupies on its host while it runs, and how urgent it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demands {
    /// Cores.
    pub cores: u32,
    /// Memory in bytes; 0 where nothing was said.
    pub memory_bytes: u64,
    /// Custom resources: name and amount.
    pub resources: Vec<(String, u64)>,
    /// Attempts of higher priority start first.
    pub priority: i32,
}

/// Limits of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock limit in milliseconds; `None` means no limit.
    pub timeout_ms: Option<u64>,
    /// Limit of the guest's own memory in bytes, windows not included.
    pub memory_bytes: u64,
    /// Limit of all windows together, in bytes.
    pub window_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: None,
            memory_bytes: 1 << 30,
            window_bytes: 3 << 30,
        }
    }
}

/// One argument: where the bytes are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// Where the bytes are.
    pub location: Location,
    /// Declared type of the bytes.
    pub media_type: Arc<str>,
}

/// What a worker says of a finished attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which attempt.
    pub id: AttemptId,
    /// The worker.
    pub worker: WorkerId,
    /// The outputs, or why there are none.
    pub result: Result<Vec<Output>, Failure>,
    /// When what happened.
    pub timeline: Timeline,
    /// How each argument travelled, in order; shorter when the attempt ended early.
    pub inputs: Vec<Transfer>,
    /// How each output travelled.
    pub outputs: Vec<Transfer>,
    /// Digest of each output that is in memory, as the task gave it. Empty unless the run verifies payloads.
    pub digests: Vec<Option<u64>>,
    /// Positions of arguments whose bytes are gone or damaged: why a failed attempt failed.
    pub lost_inputs: Vec<u32>,
    /// Whether the sandbox was made for this attempt.
    pub instantiation: Instantiation,
    /// CPU time of the worker thread in nanoseconds, from receipt to report.
    pub cpu_ns: u64,
    /// Largest size of the guest's memory, in bytes; 0 without a sandbox.
    pub peak_memory_bytes: u64,
    /// Fault that was acted out.
    pub injected: Option<FaultPlan>,
    /// How often it was run, as far as is known: more than once where an external engine repeated it by
    /// itself. 0 when it never began.
    pub executions: u32,
    /// The native programs that it ran, in order.
    pub programs: Vec<ProgramUse>,
    /// Notes on how the attempt ran, for example that `free` fell back to `epoch`.
    pub notes: Vec<String>,
}

impl AttemptReport {
    /// The report of an attempt of which nothing is known but how it ended.
    pub fn bare(id: AttemptId, worker: WorkerId, result: Result<Vec<Output>, Failure>) -> Self {
        Self {
            id,
            worker,
            result,
            timeline: Timeline::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            digests: Vec::new(),
            lost_inputs: Vec::new(),
            instantiation: Instantiation::None,
            cpu_ns: 0,
            peak_memory_bytes: 0,
            injected: None,
            executions: 1,
            programs: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The report of an attempt that made the runtime itself panic: the run goes on.
    pub fn of_panic(id: AttemptId, worker: WorkerId, panic: &(dyn Any + Send)) -> Self {
        let message = format!("the runtime panicked: {}", panic_message(panic));
        let failure = Failure::new(OutcomeKind::EngineError, message);
        Self::bare(id, worker, Err(failure))
    }

    /// The typed outcome.
    pub fn outcome(&self) -> OutcomeKind {
        match &self.result {
            Ok(_) => OutcomeKind::Ok,
            Err(failure) => failure.outcome,
        }
    }
}

/// One run of a native program within an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramUse {
    /// Its name.
    pub program: String,
    /// Exit code, when it exited.
    pub exit: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// Why the runtime killed it, if it did.
    pub killed: Option<String>,
    /// From the call to its end, in nanoseconds, with the scratch directory.
    pub wall_ns: u64,
    /// CPU time in user mode, of all its processes, in nanoseconds.
    pub cpu_user_ns: u64,
    /// CPU time in the kernel, of all its processes, in nanoseconds.
    pub cpu_system_ns: u64,
    /// Largest resident size of one of its processes, in bytes.
    pub peak_memory_bytes: u64,
    /// Bytes of its input files.
    pub input_bytes: u64,
    /// Input files that were linked.
    pub inputs_linked: u32,
    /// Input files that were copied or written.
    pub inputs_copied: u32,
    /// Bytes of its output files.
    pub output_bytes: u64,
    /// Bytes of standard output and error.
    pub said_bytes: u64,
    /// Processes that it left running, which were killed.
    pub left_behind: u32,
    /// What was enforced, in words.
    pub confinement: String,
}

/// What a panic says.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// One output of a task, published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Where the bytes are.
    pub location: Location,
}

/// Times of an attempt, in nanoseconds since the run began (monotonic). 0 where never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The worker took the attempt.
    pub received: u64,
    /// The sandbox was ready and the arguments resolved.
    pub task_start: u64,
    /// The task function returned.
    pub task_end: u64,
    /// The outputs were published and the sandbox was given back.
    pub finished: u64,
    /// Begin and end of resolving arguments before the task, where a transformer did.
    pub inputs: [u64; 2],
    /// Begin and end of putting results into the store, where a transformer did.
    pub results: [u64; 2],
}

/// Where the sandbox of an attempt came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instantiation {
    /// Made for this attempt.
    Fresh,
    /// Made ahead of time, used once.
    Prewarmed,
    /// Used before by the same app.
    Reused,
    /// There was none: the task ran natively, or ended before one was made.
    None,
}
