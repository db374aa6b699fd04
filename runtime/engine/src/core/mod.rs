//! The scheduler.

mod action;
mod settings;
mod spec;

pub use action::{Action, Counts, Event, TaskState, TaskStatus};
pub use settings::{OutcomeSet, RetryPolicy, Settings};
pub use spec::{ArgumentSpec, PayloadKey, SubmitError, TaskOptions, TaskSpec};

use crate::{Argument, AttemptId, Capabilities, Output, OutputId, TaskId};

/// The scheduler of a run: takes events, returns actions, does nothing else.
pub struct Core {
    settings: Settings,
    capabilities: Capabilities,
    run_seed: u64,
}

impl Core {
    /// An empty core.
    pub fn new(settings: Settings, run_seed: u64, capabilities: Capabilities) -> Self {
        Self {
            settings,
            capabilities,
            run_seed,
        }
    }

    /// Takes a task. The driver holds it until [`Event::Release`].
    pub fn submit(
        &mut self,
        now_ns: u64,
        spec: TaskSpec,
        actions: &mut Vec<Action>,
    ) -> Result<TaskId, SubmitError> {
        let _ = (
            now_ns,
            spec,
            actions,
            self.run_seed,
            self.capabilities,
            self.settings,
        );
        todo!()
    }

    /// Whether back-pressure allows another task.
    pub fn can_submit(&self) -> bool {
        todo!()
    }

    /// Takes a payload that the driver made. It lives until [`Event::HeldReleased`] and the end of
    /// the last task that takes it.
    pub fn hold(&mut self, payload: Argument) -> PayloadKey {
        let _ = payload;
        todo!()
    }

    /// Applies an event.
    pub fn handle(&mut self, now_ns: u64, event: Event, actions: &mut Vec<Action>) {
        let _ = (now_ns, event, actions);
        todo!()
    }

    /// Where a task stands; `None` when nobody holds it any more.
    pub fn status(&self, task: TaskId) -> Option<TaskStatus<'_>> {
        let _ = task;
        todo!()
    }

    /// The state of a task; `None` when nobody holds it any more.
    pub fn state(&self, task: TaskId) -> Option<TaskState> {
        let _ = task;
        todo!()
    }

    /// An output whose bytes are there; `None` when they are not yet, or given up, or lost.
    pub fn output(&self, output: OutputId) -> Option<&Output> {
        let _ = output;
        todo!()
    }

    /// Whether the attempt is out and its report awaited; other reports are absorbed.
    pub fn is_out(&self, attempt: AttemptId) -> bool {
        let _ = attempt;
        todo!()
    }

    /// When [`Event::Tick`] is due next.
    pub fn next_timer_ns(&self) -> Option<u64> {
        todo!()
    }

    /// How many tasks are where.
    pub fn counts(&self) -> Counts {
        todo!()
    }

    /// Panics, and says why, when anything is inconsistent. Walks over every task.
    pub fn sanity_check(&self) {
        todo!()
    }
}
