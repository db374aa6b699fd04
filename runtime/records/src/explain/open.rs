//! Tasks that are not finished, and what they wait for.

use super::seconds;
use crate::history::{Attempt, AttemptEnd, History, TaskHistory, TaskState};
use serde::Serialize;

/// A task that is not finished. Times are in seconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenTask {
    /// Sequence number of its submission.
    pub task_id: u64,
    /// Name.
    pub name: String,
    /// Which submission of that name it is, from 0.
    pub index: u64,
    /// `waiting` for parents, `ready` for a worker, `running` (or queued there) or `retrying` after a failure.
    pub state: &'static str,
    /// Time of its latest event.
    pub since_s: f64,
    /// Parents that have not given their outputs.
    pub waiting_for: Vec<u64>,
    /// Number of its latest attempt.
    pub attempt: Option<u32>,
    /// The worker of its latest attempt, when the run chose.
    pub worker: Option<u32>,
    /// Whether it had finished, and runs again because its outputs were lost.
    pub again: bool,
    /// Its latest event, for people.
    pub last_event: String,
}

/// The open tasks of a run, in order of submission.
pub(super) fn open_tasks(history: &History) -> Vec<OpenTask> {
    let open = history.tasks.iter().filter(|(_, task)| task.end.is_none());
    open.map(|(id, task)| {
        let attempt = task.attempts.last();
        let (last_event, since_ns) = last_event(task);
        let waiting_for = waiting_for(history, task);
        OpenTask {
            task_id: id.0,
            name: task.name.to_string(),
            index: task.index,
            state: match task.state() {
                TaskState::Waiting if waiting_for.is_empty() => "ready",
                state => state.name(),
            },
            since_s: seconds(since_ns),
            waiting_for,
            attempt: attempt.map(|attempt| attempt.number),
            worker: attempt.and_then(|attempt| Some(attempt.worker?.0)),
            again: task.ended_once,
            last_event,
        }
    })
    .collect()
}

fn waiting_for(history: &History, task: &TaskHistory) -> Vec<u64> {
    let waiting = |id: &&taps_engine::TaskId| {
        let parent = history.tasks.get(*id);
        parent.is_some_and(|parent| !parent.succeeded())
    };
    let mut parents: Vec<u64> = task.parents.iter().filter(waiting).map(|id| id.0).collect();
    parents.sort_unstable();
    parents.dedup();
    parents
}

/// What was last heard of a task, and when.
fn last_event(task: &TaskHistory) -> (String, u64) {
    let Some(attempt) = task.attempts.last() else {
        return ("submitted".to_owned(), task.submitted_ns);
    };
    let number = attempt.number;
    match &attempt.end {
        AttemptEnd::Out => (sent(attempt), attempt.started_ns),
        AttemptEnd::Returned(time_ns) => {
            (format!("attempt {number} came back unstarted"), *time_ns)
        }
        AttemptEnd::Killed(time_ns) => (
            format!("attempt {number} was lost: the run was killed"),
            *time_ns,
        ),
        AttemptEnd::Finished(finished) => (
            format!(
                "attempt {number} failed: {}: {}",
                finished.outcome, finished.message
            ),
            finished.received_ns,
        ),
    }
}

fn sent(attempt: &Attempt) -> String {
    let fault = match attempt.fault {
        Some(plan) => format!(", with the fault {}", plan.action),
        None => String::new(),
    };
    match attempt.worker {
        Some(worker) => format!("attempt {} sent to worker {worker}{fault}", attempt.number),
        None => format!("attempt {} sent{fault}", attempt.number),
    }
}
