//! What a driver submits.

use super::settings::RetryPolicy;
use crate::{Argument, Limits, Output, OutputId, TaskId};
use std::sync::Arc;
use taps_schema::Kernels;

/// A task as it is submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Name of the task; with the count of its submissions it decides the seed.
    pub name: Arc<str>,
    /// Index of the component in the bundle.
    pub component: u32,
    /// Index of the task in that component's description.
    pub task: u32,
    /// Arguments, in order.
    pub arguments: Vec<ArgumentSpec>,
    /// Options of this submission.
    pub options: TaskOptions,
    /// Limits of each attempt. [`TaskOptions::timeout_ms`] overrides the one here.
    pub limits: Limits,
    /// Who computes dense linear algebra.
    pub kernels: Kernels,
    /// Number of outputs that the task declares; 0 means unknown.
    pub outputs: u32,
    /// Declared type of the outputs, given to tasks that take them as arguments.
    pub media_type: Arc<str>,
    /// Outputs that are known already: the task does not run.
    pub done: Option<Vec<Output>>,
}

/// One argument of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentSpec {
    /// Bytes that belong to this task alone: a segment among them is freed with the task.
    Value(Argument),
    /// A payload that the driver holds and may pass to other tasks too.
    Held(PayloadKey),
    /// An output of another task: this is the dataflow.
    Output(OutputId),
}

/// A payload that the driver made and holds, see [`Core::hold`](super::Core::hold).
/// Never used twice within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadKey(pub u64);

/// Options of one submission.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOptions {
    /// Wall-clock limit of an attempt, in milliseconds; `None` leaves the one of the limits.
    pub timeout_ms: Option<u64>,
    /// Number of retries; `None` leaves that of the policy.
    pub retries: Option<u32>,
    /// Retry policy; `None` means that of the run.
    pub retry: Option<RetryPolicy>,
    /// Tasks of higher priority start first.
    pub priority: i32,
    /// Cores that the task occupies on its host.
    pub cores: u32,
    /// Memory that the task occupies on its host, in bytes.
    pub memory_bytes: u64,
    /// Custom resources that the task occupies on its host: name and amount.
    pub resources: Vec<(String, u64)>,
    /// Label shown in records.
    pub label: Option<Arc<str>>,
    /// Whether equal arguments always give equal results; `None` leaves the task's own word.
    pub pure: Option<bool>,
}

impl TaskOptions {
    /// The retry policy of the submission, in a run with that default.
    pub(super) fn policy(&self, default: RetryPolicy) -> RetryPolicy {
        let policy = self.retry.unwrap_or(default);
        RetryPolicy {
            retries: self.retries.unwrap_or(policy.retries),
            ..policy
        }
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            timeout_ms: None,
            retries: None,
            retry: None,
            priority: 0,
            cores: 1,
            memory_bytes: 0,
            resources: Vec::new(),
            label: None,
            pure: None,
        }
    }
}

/// Why a submission was refused. Nothing was submitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// Back-pressure: ask [`Core::can_submit`](super::Core::can_submit) first.
    #[error("{limit} tasks are outstanding, the most allowed")]
    Full {
        /// Most tasks outstanding.
        limit: usize,
    },
    /// No task of that number, or nobody holds its outputs any more.
    #[error("argument {argument}: no task {task}, or its outputs are given up")]
    UnknownTask {
        /// Position of the argument.
        argument: usize,
        /// The task asked for.
        task: TaskId,
    },
    /// The task has fewer outputs.
    #[error("argument {argument}: task {} has outputs 0 to {}, not {}", .output.task, .outputs - 1, .output.index)]
    OutputRange {
        /// Position of the argument.
        argument: usize,
        /// The output asked for.
        output: OutputId,
        /// Number of outputs that the task may have.
        outputs: u32,
    },
    /// No payload of that key is held.
    #[error("argument {argument}: the payload is not held any more")]
    UnknownPayload {
        /// Position of the argument.
        argument: usize,
        /// The key given.
        key: PayloadKey,
    },
    /// No host can ever meet the demand.
    #[error("`{what}`: {asked} asked, no host of this run has more than {largest}")]
    Infeasible {
        /// `cores`, `memory-bytes`, or the name of a custom resource.
        what: String,
        /// Amount asked for.
        asked: u64,
        /// Largest amount that a host has.
        largest: u64,
    },
    /// Each demand could be met by some host, but no one host can ever meet all of them.
    #[error("no host of this run has {demand} at once")]
    InfeasibleTogether {
        /// The demands: names and amounts.
        demand: String,
    },
    /// The executor failed; nothing runs any more.
    #[error("the executor failed: {message}")]
    ExecutorFailed {
        /// Message of its failure.
        message: String,
    },
}
