//! Tells which tasks are under way when nothing has ended for long.

use crate::state::State;
use std::{fmt::Write, time::Duration};
use taps_engine::core::{OpenTask, TaskState};

/// Tasks named in a report.
const TASKS_NAMED: usize = 10;

/// Looks whether anything happens. Reports come after the patience, after twice that, four times, and so
/// on, until something ends.
pub(crate) struct Watchdog {
    /// Nanoseconds; the most there are for one that never reports.
    patience: u64,
    /// The last end that it knows of, on the clock of the run.
    ended_ns: u64,
    due_ns: u64,
}

impl Watchdog {
    /// One that waits so long; `None` never reports.
    pub(crate) fn new(patience: Option<Duration>, now_ns: u64) -> Self {
        let patience_ns = patience.map_or(u64::MAX, |patience| patience.as_nanos() as u64);
        Self {
            patience: patience_ns,
            ended_ns: now_ns,
            due_ns: now_ns.saturating_add(patience_ns),
        }
    }

    /// When it will look next; `u64::MAX` for never.
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Looks: says what is under way, if nothing has ended for too long.
    pub(crate) fn look(&mut self, state: &State, now_ns: u64) -> Option<String> {
        if self.patience == u64::MAX {
            return None;
        }
        if state.ended_ns > self.ended_ns || state.core.counts().outstanding == 0 {
            self.ended_ns = state.ended_ns.max(self.ended_ns);
            // Without tasks it is the driver that works.
            let from_ns = match state.core.counts().outstanding {
                0 => now_ns,
                _ => self.ended_ns,
            };
            self.due_ns = from_ns.saturating_add(self.patience);
        }
        if now_ns < self.due_ns {
            return None;
        }
        let quiet_ns = now_ns.saturating_sub(self.ended_ns);
        self.due_ns = now_ns.saturating_add(quiet_ns.max(self.patience));
        Some(report(state, now_ns, quiet_ns))
    }
}

fn report(state: &State, now_ns: u64, quiet_ns: u64) -> String {
    let counts = state.core.counts();
    let open = state.core.open_tasks(TASKS_NAMED);
    let mut text = format!(
        "no task has ended for {:.1} s; {} of {} are under way on {} workers:",
        quiet_ns as f64 / 1e9,
        counts.outstanding,
        counts.submitted,
        counts.workers
    );
    for task in &open {
        text.push_str("\n  ");
        text.push_str(&line(task, now_ns));
    }
    let more = counts.outstanding.saturating_sub(open.len() as u64);
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  and {more} more");
    }
    text
}

fn line(task: &OpenTask, now_ns: u64) -> String {
    let since = now_ns.saturating_sub(task.since_ns) as f64 / 1e9;
    let (id, name) = (task.id, &task.name);
    let attempt = task.attempt.map_or(0, |attempt| attempt.number);
    let doing = match (task.state, task.worker) {
        (TaskState::Running, Some(worker)) => format!("attempt {attempt} is on worker {worker}"),
        (TaskState::Running | TaskState::Forwarded, _) => {
            format!("attempt {attempt} is with the executor")
        }
        (TaskState::Waiting, _) => {
            let parents: Vec<String> = task.waits_for.iter().map(ToString::to_string).collect();
            format!("waits for task {}", parents.join(", "))
        }
        (TaskState::BackOff, _) => "waits to be tried again".to_owned(),
        _ => "waits for a worker".to_owned(),
    };
    format!("task {id} ({name}): {doing}, for {since:.1} s")
}
