//! What became of one fault.

use super::{Fate, FaultRecord};
use crate::history::{Attempt, Finished, History, TaskHistory, TaskState};
use std::collections::HashSet;
use taps_engine::{FaultAction, FaultPlan, OutcomeKind, TaskId};

/// Judges the faults of a run.
pub(super) struct Judge {
    /// Tasks for whose outputs another failed in the end.
    harmful: HashSet<TaskId>,
}

impl Judge {
    pub(super) fn new(history: &History) -> Self {
        let mut harmful = HashSet::new();
        for task in history.tasks.values() {
            let Some(failure) = task.failure() else {
                continue;
            };
            let blames = |parent: &&TaskId| match failure.outcome {
                OutcomeKind::PayloadError => true,
                // It names the task where it began.
                OutcomeKind::UpstreamFailed => {
                    failure.message.contains(&format!("task {parent} ("))
                }
                _ => false,
            };
            harmful.extend(task.parents.iter().filter(blames));
        }
        Self { harmful }
    }

    pub(super) fn record(
        &self,
        id: TaskId,
        task: &TaskHistory,
        attempt: &Attempt,
        plan: FaultPlan,
    ) -> FaultRecord {
        let acted = acted(task, attempt, plan.action);
        let fate = match acted {
            true => self.fate(id, task, attempt, plan.action),
            false if attempt.is_out() => Fate::Unfinished,
            false => Fate::NotActed,
        };
        let time_lost_ns = if acted {
            time_lost_ns(task, attempt, plan)
        } else {
            0
        };
        let finished = attempt.finished();
        FaultRecord {
            action: plan.action.name(),
            point: plan.point.name(),
            task_id: id.0,
            name: task.name.to_string(),
            index: task.index,
            attempt: attempt.number,
            tried: task.try_of(attempt),
            worker: attempt.worker.map(|worker| worker.0),
            started_s: seconds(attempt.started_ns),
            ended_s: attempt.ended_ns().map(seconds),
            run_s: finished.and_then(|finished| finished.task_ns).map(seconds),
            outcome: finished.map(|finished| finished.outcome.name()),
            acted,
            fate,
            time_lost_s: seconds(time_lost_ns),
        }
    }

    fn fate(&self, id: TaskId, task: &TaskHistory, attempt: &Attempt, action: FaultAction) -> Fate {
        if !gave_outputs(attempt) {
            return in_the_end(task);
        }
        let harmed = self.harmful.contains(&id);
        match action {
            FaultAction::LostResult | FaultAction::CorruptPayload => {
                let noticed = action == FaultAction::LostResult || noticed(task, attempt);
                let again = made_again(task, attempt).next().is_some();
                match (noticed, again) {
                    _ if noticed && harmed => Fate::Propagated,
                    (false, _) => Fate::Silent,
                    (true, true) => in_the_end(task),
                    // Nobody needed what was lost; or what was wrong could be read another time.
                    (true, false) if action == FaultAction::LostResult => Fate::Absorbed,
                    (true, false) => Fate::Recovered,
                }
            }
            _ => Fate::Absorbed,
        }
    }
}

/// Whether a fault was acted out.
fn acted(task: &TaskHistory, attempt: &Attempt, action: FaultAction) -> bool {
    let told = attempt.finished().is_some_and(|finished| finished.injected);
    told || match action {
        FaultAction::LostResult => {
            let ended_ns = attempt.ended_ns().unwrap_or(u64::MAX);
            gave_outputs(attempt) && lost_after(task, ended_ns)
        }
        FaultAction::LateDuplicate => attempt.repeated,
        kills if kills.kills() => attempt.was_lost(),
        _ => false,
    }
}

fn gave_outputs(attempt: &Attempt) -> bool {
    let ok = |finished: &Finished| finished.outcome == OutcomeKind::Ok;
    attempt.finished().is_some_and(ok)
}

fn lost_after(task: &TaskHistory, time_ns: u64) -> bool {
    task.outputs_lost_ns
        .iter()
        .any(|lost_ns| *lost_ns >= time_ns)
}

/// Whether somebody found out that the outputs of an attempt are wrong.
fn noticed(task: &TaskHistory, attempt: &Attempt) -> bool {
    let ended_ns = attempt.ended_ns().unwrap_or(u64::MAX);
    task.blamed_ns >= ended_ns || lost_after(task, ended_ns)
}

/// How the task of an attempt that failed ended.
fn in_the_end(task: &TaskHistory) -> Fate {
    match task.state() {
        TaskState::Succeeded => Fate::Recovered,
        TaskState::Failed | TaskState::UpstreamFailed => Fate::Propagated,
        _ => Fate::Unfinished,
    }
}

/// The attempts that made the outputs of an attempt again.
fn made_again<'a>(
    task: &'a TaskHistory,
    attempt: &'a Attempt,
) -> impl Iterator<Item = &'a Attempt> {
    let next = attempt.generation.saturating_add(1);
    let attempts = task.attempts.iter();
    attempts.filter(move |other| {
        other.generation == next && other.number > attempt.number && !other.was_returned()
    })
}

fn time_lost_ns(task: &TaskHistory, attempt: &Attempt, plan: FaultPlan) -> u64 {
    let length_ns = |attempt: &Attempt| {
        let ended_ns = attempt.ended_ns().unwrap_or(attempt.started_ns);
        ended_ns.saturating_sub(attempt.started_ns)
    };
    if gave_outputs(attempt) {
        return match plan.action {
            FaultAction::SlowWorker => {
                let slow_ns = u64::from(plan.slow_ms) * 1_000_000;
                slow_ns.min(length_ns(attempt))
            }
            FaultAction::LostResult | FaultAction::CorruptPayload => made_again(task, attempt)
                .map(length_ns)
                .fold(0, u64::saturating_add),
            _ => 0,
        };
    }
    let mut later = task.attempts.iter();
    let followed = later.find(|other| other.number > attempt.number && !other.was_returned());
    followed.map_or(0, |next| next.started_ns.saturating_sub(attempt.started_ns))
}

fn seconds(time_ns: u64) -> f64 {
    time_ns as f64 / 1e9
}
