//! What is known of an attempt, or of a task that ended without one, from whatever record.

use taps_engine::{AttemptReport, Failure, OutcomeKind, TaskId, WorkerId};
use taps_records::{LogEvent, Record};

/// Who is told of a run while its records stream by.
pub trait Sink {
    /// An event, in the order of the log. Where there is no log: how the run began and which tasks were submitted, as
    /// far as the task records tell.
    fn event(&mut self, event: &LogEvent);
    /// An attempt that ended, or a task that ended without one.
    fn record(&mut self, facts: &Facts<'_>);
    /// A task that the log leaves open, with the attempt that is out; after all else.
    fn open(&mut self, facts: &Facts<'_>);
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: &LogEvent) {
        (**self).event(event);
    }

    fn record(&mut self, facts: &Facts<'_>) {
        (**self).record(facts);
    }

    fn open(&mut self, facts: &Facts<'_>) {
        (**self).open(facts);
    }
}

/// A line of records. Times are nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The task.
    pub task: TaskId,
    /// Its name.
    pub name: &'a str,
    /// Tasks whose outputs were arguments.
    pub parents: &'a [TaskId],
    /// Label that the driver gave.
    pub label: Option<&'a str>,
    /// The phase of the driver in which it was submitted.
    pub phase: Option<&'a str>,
    /// When the task was submitted.
    pub submitted_ns: u64,
    /// When the attempt was handed over.
    pub dispatched_ns: Option<u64>,
    /// When its end was known.
    pub known_ns: u64,
    /// Number of the attempt, from 0; `None` without one.
    pub attempt: Option<u32>,
    /// Which try of the task it is, from 1: attempts that came back before they had begun are none. 0 without one.
    pub tries: u32,
    /// Which production of the task's outputs it was, from 0.
    pub generation: u32,
    /// The worker.
    pub worker: Option<WorkerId>,
    /// Host of the worker.
    pub host: Option<&'a str>,
    /// What the worker said.
    pub report: Option<&'a AttemptReport>,
    /// Why there are no outputs.
    pub failure: Option<&'a Failure>,
    /// Whether it is the task's last word.
    pub is_last: bool,
    /// Whether the outputs are those of an earlier run.
    pub is_memoized: bool,
    /// Name of the fault that was acted out.
    pub injected: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// What the event log says.
    pub fn of(record: Record<'a>) -> Self {
        Self {
            task: record.task(),
            name: record.name(),
            parents: record.parents(),
            label: record.label(),
            phase: record.phase(),
            submitted_ns: record.submitted_ns(),
            dispatched_ns: record.dispatched_ns(),
            known_ns: record.received_ns(),
            attempt: record.attempt(),
            tries: record.tries(),
            generation: record.generation(),
            worker: record.worker(),
            host: record.worker().map(|worker| record.host_of(worker)),
            report: record.report(),
            failure: record.failure(),
            is_last: record.is_last(),
            is_memoized: record.is_memoized(),
            injected: record.injected().map(|plan| plan.action.name()),
        }
    }

    /// The typed outcome.
    pub fn outcome(&self) -> OutcomeKind {
        self.failure
            .map_or(OutcomeKind::Ok, |failure| failure.outcome)
    }

    /// When its worker was busy with it, from and to, as far as is known: else from hand-over until its end was known.
    pub fn on_worker_ns(&self) -> (u64, u64) {
        let times = self.report.map(|report| report.timeline);
        let (from_ns, to_ns) = match times.map(|times| (times.received, times.finished)) {
            None | Some((0, _) | (_, 0)) => {
                (self.dispatched_ns.unwrap_or(self.known_ns), self.known_ns)
            }
            Some(times) => times,
        };
        (from_ns, to_ns.max(from_ns))
    }

    /// How long the task function ran; until the end of the attempt where it did not return. `None` where it was never
    /// reached.
    pub fn function_ns(&self) -> Option<u64> {
        let times = self.report?.timeline;
        if times.task_start == 0 {
            return None;
        }
        let end = if times.task_end > 0 {
            times.task_end
        } else {
            times.finished
        };
        let end = end.min(times.finished.max(times.task_start));
        Some(end.saturating_sub(times.task_start))
    }
}
