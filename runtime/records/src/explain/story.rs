//! What the story of a task is made of.

use super::RunState;
use crate::{GuestLevel, Stream, SubmitOptions};
use serde::Serialize;

/// The story of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskExplanation {
    /// Sequence number of its submission.
    pub task_id: u64,
    /// Name.
    pub name: String,
    /// Which submission of that name it is, from 0.
    pub index: u64,
    /// Label given by the driver.
    pub label: Option<String>,
    /// Name of the phase that it was submitted in.
    pub phase: Option<String>,
    /// What was asked for.
    pub options: SubmitOptions,
    /// Where it stands: `succeeded`, `failed`, `upstream-failed`, `cancelled`, `running`, `retrying` or `waiting`.
    pub state: &'static str,
    /// Where the run stands.
    pub run: RunState,
    /// Attempts that were made.
    pub attempts: u64,
    /// Tasks whose outputs are arguments, in argument order.
    pub parents: Vec<ParentTask>,
    /// What happened, in order.
    pub story: Vec<Moment>,
}

/// A task whose output is an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParentTask {
    /// Sequence number of its submission.
    pub task_id: u64,
    /// Name.
    pub name: String,
    /// Which submission of that name it is, from 0.
    pub index: u64,
    /// Where it stands, as of [`TaskExplanation::state`].
    pub state: &'static str,
}

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// When, in seconds since the run began, on its own clock.
    pub time_s: f64,
    /// When, in seconds since 1970.
    pub unix_s: f64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum What {
    /// The driver submitted the task.
    Submitted,
    /// A parent ended after the task had been submitted.
    ParentEnded {
        /// The parent.
        task_id: u64,
        /// Its name.
        name: String,
        /// Its outcome.
        outcome: String,
    },
    /// An attempt was handed to the executor.
    Sent {
        /// Number of the attempt, from 0.
        attempt: u32,
        /// The worker, when the run chose.
        worker: Option<u32>,
        /// Why there was an attempt.
        why: Why,
        /// Type and point of the fault that it carried.
        fault: Option<(&'static str, &'static str)>,
    },
    /// The attempt came back before it had started.
    CameBack {
        /// Number of the attempt.
        attempt: u32,
    },
    /// An attempt ended.
    Ended {
        /// Number of the attempt.
        attempt: u32,
        /// The worker.
        worker: Option<u32>,
        /// Outcome.
        outcome: String,
        /// Type and message of the failure, when it failed.
        failure: Option<(String, String)>,
        /// Backtrace of the guest, or other detail.
        detail: Option<String>,
        /// Whether another attempt follows.
        retried: bool,
        /// Type and point of the fault that was acted out.
        injected: Option<(&'static str, &'static str)>,
        /// How long the task function ran, in seconds, when it returned.
        run_s: Option<f64>,
        /// Largest size of the guest's memory, in bytes.
        peak_memory_bytes: u64,
        /// How each argument travelled.
        inputs: Vec<Travelled>,
        /// How each output travelled.
        outputs: Vec<Travelled>,
        /// Positions of arguments whose bytes were gone or damaged.
        lost_inputs: Vec<u32>,
        /// Notes on how it ran.
        notes: Vec<String>,
    },
    /// The report of an attempt came again, and was ignored.
    ReportedAgain {
        /// Number of the attempt.
        attempt: u32,
    },
    /// The worker that had the attempt is gone.
    WorkerLost {
        /// The worker.
        worker: u32,
        /// Why.
        reason: String,
    },
    /// Outputs of the task are gone.
    OutputsLost {
        /// Their indices.
        outputs: Vec<u32>,
    },
    /// The task was given outputs that an earlier run had made.
    Memoized {
        /// Their length together, in bytes.
        bytes: u64,
    },
    /// The task ended by the run's decision.
    Finished {
        /// Outcome.
        outcome: String,
        /// Type and message of the failure, when it failed.
        failure: Option<(String, String)>,
    },
    /// The driver was told of the task.
    Delivered {
        /// `completion`, `status`, `result` or `failure`.
        what: &'static str,
        /// What it was told.
        told: String,
    },
    /// The guest of an attempt wrote to its stdout or stderr.
    Output {
        /// Number of the attempt.
        attempt: u32,
        /// Where to.
        stream: Stream,
        /// What, as far as it was kept.
        text: String,
        /// Bytes that were dropped.
        truncated_bytes: u64,
    },
    /// The guest of an attempt logged a message.
    Logged {
        /// Number of the attempt.
        attempt: u32,
        /// How important.
        level: GuestLevel,
        /// What.
        message: String,
    },
    /// The run had been killed, and went on; an attempt that was out is lost.
    RunResumed {
        /// Number of that attempt.
        lost_attempt: Option<u32>,
    },
    /// The run was told to end while the task was open.
    RunEnding,
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is the first.
    First,
    /// The one before failed.
    Retry,
    /// The one before came back unstarted.
    CameBack,
    /// The one before was lost when the run was killed.
    Resumed,
    /// Outputs of the task were lost after it had finished.
    OutputsLost,
}

/// How a payload travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Travelled {
    /// Its length.
    pub bytes: u64,
    /// Bytes that were moved for it.
    pub moved: u64,
    /// In which way, as in `tasks.jsonl`.
    pub way: &'static str,
}
