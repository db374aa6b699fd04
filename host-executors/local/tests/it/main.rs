//! Worker threads, and the runner without a sandbox.

mod native;
mod pool;

use taps_engine::{
    Argument, Attempt, AttemptId, AttemptReport, Failure, Instantiation, Limits, Output, TaskId,
    Timeline, WorkerId,
};
use taps_payload::Location;
use taps_schema::Kernels;

/// An attempt at a task of that index.
fn attempt(id: u64, task: u32, arguments: Vec<Location>) -> Attempt {
    Attempt {
        id: AttemptId {
            task: TaskId(id),
            number: 0,
        },
        component: 0,
        task,
        name: "task".into(),
        arguments: arguments
            .into_iter()
            .map(|location| Argument {
                location,
                media_type: "application/octet-stream".into(),
            })
            .collect(),
        limits: Limits::default(),
        seed: id,
        kernels: Kernels::Host,
        fault: None,
    }
}

/// The report of an attempt.
fn report(id: AttemptId, worker: WorkerId, result: Result<Vec<Output>, Failure>) -> AttemptReport {
    AttemptReport {
        id,
        worker,
        result,
        timeline: Timeline::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        instantiation: Instantiation::None,
        cpu_ns: 0,
        peak_memory_bytes: 0,
        injected: None,
        notes: Vec::new(),
    }
}
