//! What the event log holds.
//!
//! All times are nanoseconds since the run began, on the monotonic clock; the wall time of an
//! event is [`RunStarted::start_unix_ns`] plus that. The encoding is not self-describing:
//! a change to anything here, or to a type named here, bumps
//! [`FORMAT_VERSION`](crate::FORMAT_VERSION).

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taps_engine::{
    AttemptId, AttemptReport, Failure, FaultPlan, OutcomeKind, Output, OutputId, TaskId, WorkerId,
    WorkerInfo,
};
use taps_payload::Fingerprint;

/// One event of a run, in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogEvent {
    /// The run began: always the first event.
    RunStarted(Box<RunStarted>),
    /// The run goes on after it was killed or interrupted. Attempts that were out are lost.
    Resumed {
        /// When, on the clock of the run, which stood still meanwhile.
        time_ns: u64,
        /// Wall clock at that moment, nanoseconds since 1970: wall times of what follows count from here.
        unix_ns: u64,
    },
    /// The run is told to end, or its executor failed: what fails from here on would not have failed otherwise.
    Ending {
        /// When.
        time_ns: u64,
    },
    /// A worker is ready.
    WorkerJoined(WorkerInfo),
    /// A worker is gone, with everything that was on it.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
        /// When.
        time_ns: u64,
    },
    /// The driver submitted a task.
    Submitted {
        /// Sequence number of the submission.
        task: TaskId,
        /// Name of the task.
        name: Arc<str>,
        /// Tasks whose outputs are arguments, in argument order.
        parents: Vec<TaskId>,
        /// Label given by the driver.
        label: Option<Arc<str>>,
        /// Hash of task, argument keys and options, by which a resumed run recognises it.
        arguments_hash: u64,
        /// What was asked for.
        options: SubmitOptions,
        /// Number of the phase it was submitted in: how many [`LogEvent::Phase`] came before.
        phase: u32,
        /// When.
        time_ns: u64,
    },
    /// An attempt was handed to the executor.
    AttemptStarted {
        /// Which.
        id: AttemptId,
        /// The worker, where the core places.
        worker: Option<WorkerId>,
        /// Which production of the task's outputs this is.
        generation: u32,
        /// The fault that it carries.
        fault: Option<FaultPlan>,
        /// When.
        time_ns: u64,
    },
    /// An attempt came back before it had started, or was queued on a worker that was lost: as if
    /// it had not been started, but for its number.
    AttemptReturned {
        /// Which.
        id: AttemptId,
        /// When.
        time_ns: u64,
    },
    /// An attempt ended with a report.
    AttemptFinished {
        /// What the worker said. Boxed as the executor delivers it.
        report: Box<AttemptReport>,
        /// When the coordinator received it.
        received_ns: u64,
        /// Whether another attempt follows, so that this is not the task's last word.
        retried: bool,
    },
    /// The report of an attempt came again, late, and was ignored.
    ReportRepeated {
        /// Which attempt.
        id: AttemptId,
        /// When.
        time_ns: u64,
    },
    /// Outputs of finished tasks are gone; what is needed of them is made again.
    OutputsLost {
        /// Which.
        outputs: Vec<OutputId>,
        /// When.
        time_ns: u64,
    },
    /// A task was given the outputs that an earlier run had memoised, and did not run.
    Memoized {
        /// Which.
        task: TaskId,
        /// What it has.
        outputs: Vec<Output>,
        /// When.
        time_ns: u64,
    },
    /// A task ended without a report that decides it: upstream failed, cancelled, given up.
    TaskFinished {
        /// Which.
        task: TaskId,
        /// Why it has no result; `None` when it succeeded.
        failure: Option<Failure>,
        /// When.
        time_ns: u64,
    },
    /// The driver observed something. A resumed run replays these, in this order.
    Delivered {
        /// What.
        delivery: Delivery,
        /// When; the driver's clock reads this until the next delivery.
        time_ns: u64,
    },
    /// The driver began a phase.
    Phase {
        /// Its name.
        name: Arc<str>,
        /// When.
        time_ns: u64,
    },
    /// A guest wrote to its stdout or stderr.
    GuestOutput {
        /// Who.
        source: Source,
        /// Where to.
        stream: Stream,
        /// What, as far as it was kept.
        text: String,
        /// Bytes that were dropped because the limit was reached.
        truncated_bytes: u64,
        /// When it was collected.
        time_ns: u64,
    },
    /// A guest logged a message through the host interface.
    GuestLog {
        /// Who.
        source: Source,
        /// How important.
        level: GuestLevel,
        /// What.
        message: String,
        /// When.
        time_ns: u64,
    },
    /// The run ended: always the last event. A log without it is that of a killed run.
    RunFinished {
        /// Whether the driver succeeded and every check passed.
        ok: bool,
        /// Exit code of the process.
        exit_code: i32,
        /// The driver's report, as JSON.
        report: Option<String>,
        /// Why the run failed, for people.
        error: Option<String>,
        /// How many tasks there were.
        counts: TaskCounts,
        /// When.
        time_ns: u64,
    },
}

/// How a run began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Version of the event format, [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    pub format: u32,
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
    /// Wall clock at the start of the run, nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// Host of the coordinator.
    pub host: String,
    /// Digests of the app's components, in their order: a run is resumed with no others.
    pub components: Vec<String>,
    /// The resolved configuration, byte for byte as in `config.toml`.
    pub config_toml: String,
}

/// What a submission asked for beyond the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitOptions {
    /// How many attempts may follow the first; `None` leaves that to the run.
    pub retries: Option<u32>,
    /// Wall-clock limit of an attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Larger runs earlier.
    pub priority: i32,
    /// Cores that it occupies.
    pub cores: u32,
    /// Memory that it occupies, in bytes.
    pub memory_bytes: u64,
    /// Whether the result may be memoised.
    pub pure: bool,
}

/// What a driver observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Delivery {
    /// Completions were handed out, together.
    Completions(Vec<Completion>),
    /// A status was polled.
    Status {
        /// Which task.
        task: TaskId,
        /// What was answered.
        status: TaskStatus,
    },
    /// A result was asked for, and the task had succeeded.
    Result {
        /// Which output.
        output: OutputId,
        /// Its length in bytes.
        len: u64,
    },
    /// A result or failure was asked for, and the task had failed.
    Failure {
        /// Which task.
        task: TaskId,
        /// Its outcome.
        outcome: OutcomeKind,
    },
    /// A wait ended by its time limit.
    Timeout,
    /// A wait found nothing to wait for.
    Empty,
    /// A sleep ended.
    Slept,
    /// A granted file became a payload.
    InputFile {
        /// The path that the guest named.
        path: String,
        /// What the file was.
        fingerprint: Fingerprint,
    },
    /// A granted file could not become a payload.
    InputFileFailed {
        /// The path that the guest named.
        path: String,
        /// Name of the error.
        error: String,
    },
}

/// A finished task, as a completion queue hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Which task.
    pub task: TaskId,
    /// The tag that the driver gave it.
    pub tag: u64,
    /// How it ended.
    pub status: TaskStatus,
}

/// What a driver is told of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskStatus {
    /// Not finished.
    Pending,
    /// Finished with its outputs.
    Succeeded,
    /// Finished without.
    Failed,
}

/// Which guest wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The driver.
    Driver,
    /// A task's attempt.
    Attempt(AttemptId),
}

/// Where a guest wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How important a guest says its message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestLevel {
    /// Every step.
    Trace,
    /// For debugging.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// How many tasks a run had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Submissions.
    pub submitted: u64,
    /// Tasks that gave their outputs.
    pub succeeded: u64,
    /// Tasks that did not, cancelled ones included.
    pub failed: u64,
    /// Attempts beyond the first of their task.
    pub retried: u64,
}
