//! What a report shows: small, whatever the run was. Times are seconds since the run began, on its own
//! clock, unless their name says otherwise; sizes are bytes.

use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that a page shows of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Model {
    /// Version of this model.
    pub format: u32,
    /// The run directory, as it was named.
    pub path: String,
    /// What the log says of the run; `None` when it cannot be read.
    pub run: Option<Run>,
    /// What could not be read, is not recorded, or was left out, for people.
    pub notes: Vec<String>,
    /// Tasks and attempts, counted.
    pub counts: Counts,
    /// Task names, to which others refer by position.
    pub names: Vec<String>,
    /// Statistics of each task name, in the same order.
    pub by_name: Vec<NameStatistics>,
    /// Workers, in the order in which they joined or were first named.
    pub workers: Vec<Worker>,
    /// Phases of the driver.
    pub phases: Vec<Phase>,
    /// When the run went on after it had been killed.
    pub resumes_s: Vec<f64>,
    /// Rates and numbers over time.
    pub timeline: Timeline,
    /// Where the time went.
    pub time: TimeParts,
    /// Attempts, or a sample of them.
    pub attempts: Attempts,
    /// How payloads travelled.
    pub flow: Flow,
    /// Memory of sandboxes.
    pub memory: Memory,
    /// Tasks and attempts that failed.
    pub failures: Failures,
    /// Injected faults and what became of them: the content of `failures.json`.
    pub injection: Option<serde_json::Value>,
    /// Which task waits for which.
    pub graph: Graph,
    /// The longest chain of tasks, by the time that they ran.
    pub critical_path_s: Option<f64>,
    /// Text of `config.toml`, or of the configuration in the log.
    pub config: Option<String>,
    /// Content of `environment.json`.
    pub environment: Option<serde_json::Value>,
    /// Whether an attempt carried a fault.
    #[serde(skip)]
    pub(crate) carried_faults: bool,
}

/// How a run began and ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// Name of the app.
    pub app: String,
    /// Version of the app.
    pub app_version: String,
    /// Name of the executor.
    pub executor: String,
    /// Worker slots asked for.
    pub slots: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Host of the coordinator.
    pub host: String,
    /// When it began, in seconds since 1970.
    pub start_unix_s: f64,
    /// `finished`, `failed`, `interrupted`, `killed` or `going-on`; `unknown` without a log.
    pub state: &'static str,
    /// Exit code, when it ended.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub error: Option<String>,
    /// What the driver reported.
    pub report: Option<serde_json::Value>,
    /// From the first to the latest event.
    pub elapsed_s: f64,
    /// From the first submission to the end of the last task; `None` without a task.
    pub makespan_s: Option<f64>,
    /// Byte from which on the log is damaged.
    pub damaged_at: Option<u64>,
}

/// Tasks and attempts, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Submissions.
    pub submitted: u64,
    /// Tasks that gave their outputs.
    pub succeeded: u64,
    /// Tasks that failed by themselves.
    pub failed: u64,
    /// Tasks that failed because a parent did.
    pub upstream_failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that the log leaves open.
    pub open: u64,
    /// Of those that succeeded, how many had the outputs of an earlier run.
    pub memoized: u64,
    /// Attempts that ended, well or not.
    pub attempts: u64,
    /// Attempts that another followed.
    pub retried: u64,
    /// Attempts that made outputs again which were lost.
    pub recomputed: u64,
    /// Workers that were lost.
    pub workers_lost: u64,
}

/// A worker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worker {
    /// Its number.
    pub id: u32,
    /// Its host; `None` when it never joined.
    pub host: Option<String>,
    /// When it joined first.
    pub joined_s: Option<f64>,
    /// How often it was lost.
    pub losses: u64,
    /// The first of those.
    pub lost: Vec<Loss>,
    /// Attempts that ended on it.
    pub attempts: u64,
    /// Sum of the times of those.
    pub busy_s: f64,
    /// Attempts at a time on average, in bins of [`Timeline::coarse_s`], in hundredths; empty where all attempts
    /// are listed.
    pub load: Vec<u32>,
}

/// The end of a worker, or of the process behind it, whose place another takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// When.
    pub time_s: f64,
    /// Why.
    pub reason: String,
}

/// A phase that the driver began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When.
    pub time_s: f64,
}

/// Rates and numbers in bins of equal width.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Width of a bin.
    pub bin_s: f64,
    /// Width of a bin of [`Worker::load`].
    pub coarse_s: f64,
    /// Tasks submitted in each bin.
    pub submitted: Vec<u64>,
    /// Tasks that gave their outputs.
    pub succeeded: Vec<u64>,
    /// Tasks that ended without.
    pub failed: Vec<u64>,
    /// Attempts that another followed.
    pub retried: Vec<u64>,
    /// Attempts on workers at a time, on average.
    pub running: Vec<f64>,
    /// Tasks that waited for an attempt, parents' ends included, on average.
    pub waiting: Vec<f64>,
    /// Bytes of arguments that arrived with attempts ending in each bin.
    pub input_bytes: Vec<u64>,
    /// Bytes of results of attempts ending in each bin.
    pub output_bytes: Vec<u64>,
    /// Largest memory of a sandbox whose attempt ended in each bin.
    pub memory_bytes: Vec<u64>,
}

/// Where the time went. The parts of slot time and `idle_s` sum to `slot_s`, if the records are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimeParts {
    /// Time from the first to the latest event, times slots.
    pub slot_s: f64,
    /// On workers: passing arguments in a run with a transformer. What is resolved lazily is in `compute_s`.
    pub resolve_s: f64,
    /// On workers: making the sandbox and passing arguments, before the task function.
    pub prepare_s: f64,
    /// On workers: the task function, without native programs. Host calls of a guest are in it.
    pub compute_s: f64,
    /// On workers: native programs that the task function ran.
    pub program_s: f64,
    /// On workers: publishing results and giving the sandbox back.
    pub store_s: f64,
    /// On workers: attempts of which no times are known, from hand-over to the end.
    pub unknown_s: f64,
    /// Slot time that is none of these.
    pub idle_s: f64,
    /// Of the time on workers, how much went into attempts that gave no outputs.
    pub lost_s: f64,
    /// CPU time of workers' threads, as far as it was told.
    pub cpu_s: f64,
    /// Waiting of tasks for their parents; not slot time.
    pub parents_s: f64,
    /// Waiting of tasks with all parents done for an attempt to be handed over; not slot time.
    pub queue_s: f64,
    /// From hand-over to the worker taking it, summed; not slot time.
    pub deliver_s: f64,
    /// From the end on the worker to the coordinator knowing it, summed; not slot time.
    pub report_s: f64,
}

/// Statistics of one task name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NameStatistics {
    /// Tasks that ended.
    pub tasks: u64,
    /// Of those, without outputs.
    pub failed: u64,
    /// Attempts that another followed.
    pub retried: u64,
    /// Seconds of the task function, summed.
    pub compute_s: f64,
    /// Its median, to 1 %.
    pub median_s: Option<f64>,
    /// Its 95th percentile, to 1 %.
    pub p95_s: Option<f64>,
    /// Its maximum.
    pub max_s: f64,
    /// Seconds on workers besides the task function, summed.
    pub overhead_s: f64,
    /// Bytes of arguments.
    pub input_bytes: u64,
    /// Bytes of results.
    pub output_bytes: u64,
    /// Largest memory of a sandbox.
    pub memory_bytes: u64,
}

/// Attempts, column by column. Times that are not known are null.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attempts {
    /// One of how many tasks is listed; 1 when all are. Attempts that failed and their tasks are listed besides,
    /// up to a limit.
    pub one_of: u64,
    /// Names of outcomes, to which `outcome` refers.
    pub outcomes: Vec<String>,
    /// Sequence number of the task.
    pub task: Vec<u64>,
    /// Position in [`Model::names`].
    pub name: Vec<u32>,
    /// Number of the attempt, null when there was none.
    pub attempt: Vec<Option<u32>>,
    /// Which try of the task it is, from 1; 0 when there was none.
    pub tries: Vec<u32>,
    /// Number of the worker.
    pub worker: Vec<Option<u32>>,
    /// When the task was submitted.
    pub submitted: Vec<f64>,
    /// When the attempt was handed over.
    pub dispatched: Vec<Option<f64>>,
    /// When the worker took it.
    pub received: Vec<Option<f64>>,
    /// When the task function began.
    pub start: Vec<Option<f64>>,
    /// When it returned.
    pub end: Vec<Option<f64>>,
    /// When the worker was done.
    pub finished: Vec<Option<f64>>,
    /// When the end was known to the coordinator.
    pub known: Vec<f64>,
    /// Position in `outcomes`.
    pub outcome: Vec<u32>,
    /// 0: another attempt followed, 1: the task's last word, 2: the log leaves it open.
    pub last: Vec<u8>,
    /// Position in `faults`, null for none.
    pub fault: Vec<Option<u32>>,
    /// Names of acted faults, to which `fault` refers.
    pub faults: Vec<String>,
    /// Bytes of arguments.
    pub input_bytes: Vec<u64>,
    /// Bytes of results.
    pub output_bytes: Vec<u64>,
    /// Largest memory of the sandbox.
    pub memory: Vec<u64>,
    /// CPU seconds.
    pub cpu: Vec<f64>,
    /// Label that the driver gave.
    pub label: Vec<Option<String>>,
}

/// How payloads travelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Arguments, by the way that they took.
    pub inputs: BTreeMap<&'static str, Travelled>,
    /// Results, by the way that they took.
    pub outputs: BTreeMap<&'static str, Travelled>,
}

/// Payloads that travelled one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Travelled {
    /// How many.
    pub payloads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were moved: what a guest asked for, where it reads in pieces.
    pub moved_bytes: u64,
    /// Whole copies of the moved bytes, summed.
    pub copies: u64,
    /// Bytes that were copied: moved, times copies.
    pub copied_bytes: u64,
}

/// Memory of sandboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Limit of a sandbox, as configured; `None` for the default.
    pub limit_bytes: Option<u64>,
    /// The limit where none is configured.
    pub default_limit_bytes: u64,
    /// Largest size of a sandbox.
    pub largest_bytes: u64,
    /// Largest resident size of a native program.
    pub largest_program_bytes: u64,
    /// Attempts that ended at the limit.
    pub out_of_memory: u64,
}

/// Tasks and attempts that failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failures {
    /// Attempts without outputs, by outcome.
    pub by_outcome: BTreeMap<String, u64>,
    /// The first of them.
    pub rows: Vec<FailureRow>,
    /// How many are not listed.
    pub left_out: u64,
    /// Tasks that the log leaves open, first ones first.
    pub open: Vec<OpenRow>,
}

/// An attempt, or a task without one, that gave no outputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureRow {
    /// The task.
    pub task: u64,
    /// Its name.
    pub name: String,
    /// Number of the attempt.
    pub attempt: Option<u32>,
    /// The worker.
    pub worker: Option<u32>,
    /// Its outcome.
    pub outcome: String,
    /// Type of the error within the outcome.
    pub kind: String,
    /// What was said.
    pub message: String,
    /// The fault that was acted out.
    pub injected: Option<String>,
    /// When it was known.
    pub time_s: f64,
    /// Whether another attempt followed.
    pub retried: bool,
}

/// A task that the log leaves open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenRow {
    /// The task.
    pub task: u64,
    /// Its name.
    pub name: String,
    /// When it was submitted.
    pub submitted_s: f64,
    /// The attempt that is out.
    pub attempt: Option<u32>,
    /// Its worker.
    pub worker: Option<u32>,
}

/// Which task waits for which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// `tasks`, or `names` where there are too many tasks to show each.
    pub of: &'static str,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// From node to node, by position, and how many edges between tasks that stands for.
    pub edges: Vec<(u32, u32, u64)>,
    /// Edges between tasks.
    pub total_edges: u64,
}

/// A task, or all tasks of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Position in [`Model::names`].
    pub name: u32,
    /// The task, where nodes are tasks.
    pub task: Option<u64>,
    /// Tasks that the node stands for.
    pub tasks: u64,
    /// Of those, how many ended without outputs.
    pub failed: u64,
}
