//! The worker of `thread-pool`: a sandbox per attempt.

use crate::{AttemptRunner, RunnerFactory};
use std::sync::Arc;
use taps_engine::{Attempt, AttemptReport};
use taps_sandbox::{CancelToken, TaskRuntime, TaskWorker};

impl AttemptRunner for TaskWorker {
    fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        TaskWorker::run(self, attempt, token)
    }

    fn idle(&mut self) {
        self.prewarm();
    }
}

/// Workers that run attempts in sandboxes of this runtime.
pub fn sandboxed(runtime: Arc<TaskRuntime>) -> RunnerFactory {
    Arc::new(move |id| Box::new(runtime.worker(id)))
}
