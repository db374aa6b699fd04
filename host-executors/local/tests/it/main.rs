//! Worker threads, and the runner without a sandbox.

mod native;
mod pool;

use taps_engine::{Argument, Attempt, AttemptId, Limits, TaskId};
use taps_payload::Location;
use taps_schema::Kernels;

/// An attempt at a task of that index.
fn attempt(id: u64, task: u32, arguments: Vec<Location>) -> Attempt {
    Attempt {
        generation: taps_engine::Generation::default(),
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
        digests: Vec::new(),
        fault: None,
        demands: None,
    }
}
