//! One task and its attempts.

use crate::LogEvent;
use std::sync::Arc;
use taps_engine::{AttemptReport, Failure, FaultPlan, OutcomeKind, TaskId, WorkerId};

/// What became of a task.
#[derive(Clone, Debug)]
pub(crate) struct TaskHistory {
    pub(crate) name: Arc<str>,
    /// Which submission of its name it is, from 0.
    pub(crate) index: u64,
    pub(crate) parents: Box<[TaskId]>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) phase: u32,
    pub(crate) submitted_ns: u64,
    pub(crate) attempts: Vec<Attempt>,
    /// How it ended; `None` while it is open, also while it runs again.
    pub(crate) end: Option<End>,
    /// Whether it has ended before, whatever it does now.
    pub(crate) ended_once: bool,
    pub(crate) memoized: bool,
    /// When outputs of it were lost.
    pub(crate) outputs_lost_ns: Vec<u64>,
    /// When an attempt of a child last failed for its inputs; 0 for never.
    pub(crate) blamed_ns: u64,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) failure: Option<Box<Failure>>,
    pub(crate) time_ns: u64,
}

/// An attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) generation: u32,
    pub(crate) fault: Option<FaultPlan>,
    pub(crate) started_ns: u64,
    pub(crate) end: AttemptEnd,
    /// Whether its report came again.
    pub(crate) repeated: bool,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum AttemptEnd {
    /// Nothing was heard of it yet.
    Out,
    /// It came back without having started, at that time.
    Returned(u64),
    /// The run was killed, and went on at that time.
    Killed(u64),
    /// It reported, or was lost with its worker.
    Finished(Box<Finished>),
}

/// What is known of an attempt that ended.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) received_ns: u64,
    pub(crate) outcome: OutcomeKind,
    pub(crate) message: String,
    /// Whether its report says that a fault was acted out.
    pub(crate) injected: bool,
    /// The task function, where it was reached and returned.
    pub(crate) task_ns: Option<u64>,
}

impl Finished {
    pub(super) fn new(report: &AttemptReport, received_ns: u64) -> Self {
        let times = &report.timeline;
        let ran = times.task_start > 0 && times.task_end > 0;
        Self {
            received_ns,
            outcome: report.outcome(),
            message: match &report.result {
                Ok(_) => String::new(),
                Err(failure) => failure.message.clone(),
            },
            injected: report.injected.is_some(),
            task_ns: ran.then(|| times.task_end.saturating_sub(times.task_start)),
        }
    }
}

impl Attempt {
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.end, AttemptEnd::Out)
    }

    pub(crate) fn was_returned(&self) -> bool {
        matches!(self.end, AttemptEnd::Returned(_))
    }

    pub(crate) fn finished(&self) -> Option<&Finished> {
        match &self.end {
            AttemptEnd::Finished(finished) => Some(finished),
            _ => None,
        }
    }

    /// When it ended, in whatever way.
    pub(crate) fn ended_ns(&self) -> Option<u64> {
        match &self.end {
            AttemptEnd::Out => None,
            AttemptEnd::Returned(time_ns) | AttemptEnd::Killed(time_ns) => Some(*time_ns),
            AttemptEnd::Finished(finished) => Some(finished.received_ns),
        }
    }

    /// Whether it ended with its worker.
    pub(crate) fn was_lost(&self) -> bool {
        let lost = |finished: &Finished| finished.outcome == OutcomeKind::WorkerLost;
        self.finished().is_some_and(lost)
    }

    /// Whether it carries a fault that ends its worker.
    pub(crate) fn kills(&self) -> bool {
        self.fault.is_some_and(|fault| fault.action.kills())
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Succeeded,
    Failed,
    UpstreamFailed,
    Cancelled,
    /// An attempt is with the executor.
    Running,
    /// The last attempt failed, and another is to follow.
    Retrying,
    /// Not running: for its parents, or for a worker.
    Waiting,
}

impl TaskHistory {
    /// The task of a submission.
    pub(super) fn submitted(event: &LogEvent, index: u64) -> Option<Self> {
        let LogEvent::Submitted {
            name,
            parents,
            label,
            phase,
            time_ns,
            ..
        } = event
        else {
            return None;
        };
        Some(Self {
            name: Arc::clone(name),
            index,
            parents: parents.clone().into(),
            label: label.clone(),
            phase: *phase,
            submitted_ns: *time_ns,
            attempts: Vec::new(),
            end: None,
            ended_once: false,
            memoized: false,
            outputs_lost_ns: Vec::new(),
            blamed_ns: 0,
        })
    }

    pub(super) fn start(&mut self, attempt: Attempt) {
        // A finished task runs again.
        self.end = None;
        self.attempts.push(attempt);
    }

    pub(super) fn finish(&mut self, failure: Option<Failure>, time_ns: u64) {
        self.ended_once = true;
        self.end = Some(End {
            failure: failure.map(Box::new),
            time_ns,
        });
    }

    /// The run goes on: what was cancelled because it was told to end, at that time, is open again.
    pub(super) fn go_on(&mut self, ending_ns: u64) {
        let by_end = |end: &End| end.time_ns >= ending_ns;
        let reopened =
            self.state() == TaskState::Cancelled && self.end.as_ref().is_some_and(by_end);
        if reopened {
            self.end = None;
            self.ended_once = false;
        }
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.end.as_ref()?.failure.as_deref()
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.state() == TaskState::Succeeded
    }

    pub(crate) fn state(&self) -> TaskState {
        match &self.end {
            Some(End { failure: None, .. }) => TaskState::Succeeded,
            Some(End {
                failure: Some(failure),
                ..
            }) => match failure.outcome {
                OutcomeKind::Cancelled => TaskState::Cancelled,
                OutcomeKind::UpstreamFailed => TaskState::UpstreamFailed,
                _ => TaskState::Failed,
            },
            None => match self.attempts.last() {
                Some(attempt) if attempt.is_out() => TaskState::Running,
                Some(attempt) if attempt.finished().is_some() => TaskState::Retrying,
                _ => TaskState::Waiting,
            },
        }
    }

    /// Attempts that started, without those that came back before.
    pub(crate) fn started_attempts(&self) -> u64 {
        let started = |attempt: &&Attempt| !attempt.was_returned();
        self.attempts.iter().filter(started).count() as u64
    }

    /// Which try of the task an attempt is: how many before it came to an end of their own.
    pub(crate) fn try_of(&self, attempt: &Attempt) -> u64 {
        let before = self.attempts.iter();
        let before = before.take_while(|other| other.number != attempt.number);
        let own_end = |other: &&Attempt| match other.finished() {
            Some(_) => !other.was_lost() || other.kills(),
            None => false,
        };
        before.filter(own_end).count() as u64
    }
}

impl TaskState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::UpstreamFailed => "upstream-failed",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
        }
    }
}
