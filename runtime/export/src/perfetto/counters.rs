//! How many tasks run and wait, step by step.

use crate::sparse::Sparse;
use taps_engine::TaskId;
use taps_records::LogEvent;

/// After so many steps, those that follow closely are left out: twice as far apart as before.
const STEPS: u64 = 50_000;

/// What a task does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not submitted, or ended.
    #[default]
    Away,
    /// For parents, or for a worker.
    Waits,
    /// An attempt was handed over.
    Runs,
}

/// Counts along the log.
#[derive(Debug, Default)]
pub(super) struct Counters {
    states: Sparse<State>,
    waiting: u64,
    running: u64,
    written: u64,
    apart_ns: u64,
    last_ns: Option<u64>,
    /// The latest step, when it was left out.
    pending_ns: Option<u64>,
}

/// Tasks at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) time_ns: u64,
    pub(super) running: u64,
    pub(super) waiting: u64,
}

impl Counters {
    /// The step to be written after an event, if one is.
    pub(super) fn after(&mut self, event: &LogEvent) -> Option<Step> {
        let time_ns = match event {
            LogEvent::Submitted { task, time_ns, .. } => {
                self.becomes(*task, State::Waits);
                time_ns
            }
            LogEvent::AttemptStarted { id, time_ns, .. } => {
                self.becomes(id.task, State::Runs);
                time_ns
            }
            LogEvent::AttemptReturned { id, time_ns } => {
                if self.states.get(id.task.0) == State::Runs {
                    self.becomes(id.task, State::Waits);
                }
                time_ns
            }
            LogEvent::AttemptFinished {
                report,
                received_ns,
                retried,
            } => {
                let then = if *retried { State::Waits } else { State::Away };
                self.becomes(report.id.task, then);
                received_ns
            }
            LogEvent::TaskFinished { task, time_ns, .. }
            | LogEvent::Memoized { task, time_ns, .. } => {
                self.becomes(*task, State::Away);
                time_ns
            }
            LogEvent::Resumed { time_ns, .. } => {
                // What was out is lost with the process, and waits again.
                self.states.each(|state| {
                    if *state == State::Runs {
                        *state = State::Waits;
                    }
                });
                self.waiting += std::mem::take(&mut self.running);
                time_ns
            }
            LogEvent::RunFinished { time_ns, .. } => time_ns,
            _ => return None,
        };
        let apart = self
            .last_ns
            .is_none_or(|last_ns| time_ns.saturating_sub(last_ns) >= self.apart_ns);
        if !apart {
            self.pending_ns = Some(*time_ns);
            return None;
        }
        Some(self.step(*time_ns))
    }

    /// The last step, when it was not written.
    pub(super) fn last(&mut self) -> Option<Step> {
        let time_ns = self.pending_ns.take()?;
        Some(self.step(time_ns))
    }

    fn step(&mut self, time_ns: u64) -> Step {
        self.written += 1;
        if self.written.is_multiple_of(STEPS) {
            self.apart_ns = (self.apart_ns * 2).max(1_000);
        }
        (self.last_ns, self.pending_ns) = (Some(time_ns), None);
        Step {
            time_ns,
            running: self.running,
            waiting: self.waiting,
        }
    }

    fn becomes(&mut self, task: TaskId, state: State) {
        let before = self.states.get(task.0);
        match before {
            State::Away => {}
            State::Waits => self.waiting -= 1,
            State::Runs => self.running -= 1,
        }
        match state {
            State::Away => {}
            State::Waits => self.waiting += 1,
            State::Runs => self.running += 1,
        }
        if before != state {
            self.states.set(task.0, state);
        }
    }
}
