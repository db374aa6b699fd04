//! Attempts and tasks for other views than `tasks.jsonl`, streamed from the same fold.

use super::{Fold, Line, Lines, TasksSummary};
use crate::{LogError, LogEvent};
use std::path::Path;
use taps_engine::{AttemptReport, Failure, FaultPlan, OutcomeKind, TaskId, WorkerId};

/// What is known of an attempt, or of a task that ended without one: a line of `tasks.jsonl`, typed.
/// Times are nanoseconds since the run began.
#[derive(Clone, Copy)]
pub struct Record<'a>(pub(super) &'a Line<'a>);

impl<'a> Record<'a> {
    /// Sequence number of the task's submission.
    pub fn task(&self) -> TaskId {
        self.0.id
    }

    /// Name of the task.
    pub fn name(&self) -> &'a str {
        &self.0.task.name
    }

    /// Tasks whose outputs were arguments, in argument order.
    pub fn parents(&self) -> &'a [TaskId] {
        &self.0.task.parents
    }

    /// Label that the driver gave.
    pub fn label(&self) -> Option<&'a str> {
        self.0.task.label.as_deref()
    }

    /// The phase in which it was submitted.
    pub fn phase(&self) -> Option<&'a str> {
        self.0.run.phase(self.0.task.phase)
    }

    /// When the task was submitted.
    pub fn submitted_ns(&self) -> u64 {
        self.0.task.submitted_ns
    }

    /// When the attempt was handed to the executor; `None` where there was none.
    pub fn dispatched_ns(&self) -> Option<u64> {
        self.0.started.map(|started| started.time_ns)
    }

    /// When its end was known; for what is open, its latest event.
    pub fn received_ns(&self) -> u64 {
        self.0.received_ns
    }

    /// Number of the attempt from 0; `None` where there was none.
    pub fn attempt(&self) -> Option<u32> {
        let reported = self.0.report.map(|report| report.id.number);
        reported.or(self.0.started.map(|started| started.number))
    }

    /// How many attempts of the task were made up to this one, it included; 0 where there was none. Those that came
    /// back before they had begun do not count.
    pub fn tries(&self) -> u32 {
        let made = self.attempt().map_or(0, |number| number.saturating_add(1));
        made.saturating_sub(self.0.task.returned)
    }

    /// Which production of the outputs it was.
    pub fn generation(&self) -> u32 {
        self.0.started.map_or(0, |started| started.generation)
    }

    /// The worker, as it reported or as the run chose.
    pub fn worker(&self) -> Option<WorkerId> {
        match (self.0.report, self.0.started) {
            (Some(report), _) => Some(report.worker),
            (None, started) => started?.worker,
        }
    }

    /// Host of a worker; of the coordinator when the worker never joined.
    pub fn host_of(&self, worker: WorkerId) -> &'a str {
        self.0.run.host_of(worker)
    }

    /// What the worker said, where it did.
    pub fn report(&self) -> Option<&'a AttemptReport> {
        self.0.report
    }

    /// Why there are no outputs.
    pub fn failure(&self) -> Option<&'a Failure> {
        self.0.failure
    }

    /// The typed outcome.
    pub fn outcome(&self) -> OutcomeKind {
        let failure = self.0.failure;
        failure.map_or(OutcomeKind::Ok, |failure| failure.outcome)
    }

    /// Whether this is the task's last word, and not that of an attempt that another followed.
    pub fn is_last(&self) -> bool {
        self.0.last
    }

    /// Whether the outputs are those of an earlier run.
    pub fn is_memoized(&self) -> bool {
        self.0.task.memoized
    }

    /// The fault that it carried, acted out or not.
    pub fn fault(&self) -> Option<FaultPlan> {
        self.0.started.and_then(|started| started.fault)
    }

    /// The fault that was acted out: as the worker said, or as it was lost for.
    pub fn injected(&self) -> Option<FaultPlan> {
        self.0.injected()
    }

    /// Wall clock at a time of the run, nanoseconds since 1970.
    pub fn wall_ns(&self, time_ns: u64) -> u64 {
        self.0.run.wall_ns(time_ns)
    }
}

/// Who reads a log: is given each event, and after it what the event completes.
pub trait Reading {
    /// An event, in the order of the log.
    fn event(&mut self, event: &LogEvent);
    /// An attempt, or a task without one, that ended.
    fn record(&mut self, record: Record<'_>);
    /// A task that the log leaves open, with the attempt that is out; after all else.
    fn open(&mut self, record: Record<'_>);
}

/// Reads a log once, from its beginning, and again only where finished tasks run again. Memory is bounded by the
/// tasks open at one time, not by the run; what the reader keeps is its own affair.
pub fn read_records(log: &Path, reading: &mut impl Reading) -> Result<TasksSummary, LogError> {
    let mut fold = Fold::open(log)?;
    while let Some(event) = fold.next_event()? {
        reading.event(&event);
        fold.state.apply(event, &mut Records(reading));
    }
    let summary = fold.finish(&mut Records(reading));
    fold.state.each_open(&mut |line| reading.open(Record(line)));
    Ok(summary)
}

pub(super) struct Records<'a, R>(pub(super) &'a mut R);

impl<R: Reading> Lines for Records<'_, R> {
    fn line(&mut self, line: &Line<'_>) {
        self.0.record(Record(line));
    }
}
