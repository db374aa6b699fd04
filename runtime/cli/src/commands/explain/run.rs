//! A run in plain words. Writing to a `String` cannot fail.

use super::{below, count, line, wall};
use std::fmt::Write as _;
use std::path::Path;
use taps_records::{FailedTask, FaultRecord, OpenTask, RunExplanation, RunState};

/// How many of each list are shown.
const SHOWN: usize = 20;

/// How many parents of a waiting task are shown.
const PARENTS_SHOWN: usize = 8;

pub(super) fn write(text: &mut String, told: &RunExplanation, run: &Path) {
    let app = format!("{} {}, seed {}", told.app, told.app_version, told.seed);
    line(text, "App", &app);
    let slots = count(told.slots.into(), "worker slot", "worker slots");
    line(
        text,
        "Executor",
        &format!("{}, {slots}, on {}", told.executor, told.host),
    );
    line(text, "Began", &wall(told.start_unix_s));
    line(text, "End", &end(told));
    if let Some(offset) = told.damaged_at {
        let damage = format!("the log is damaged from byte {offset} on; this is what came before");
        line(text, "Damage", &damage);
    }
    line(text, "Tasks", &tasks(told));
    line(text, "Attempts", &attempts(told));
    for resume in &told.resumes {
        let lost = count(resume.attempts_lost, "attempt was", "attempts were");
        let when = format!(
            "after {:.3} s, at {}; {lost} lost",
            resume.time_s,
            wall(resume.unix_s)
        );
        line(text, "Resumed", &when);
    }
    write_workers(text, told);
    write_faults(text, told);
    if !told.failures.is_empty() {
        let number = count(
            told.failures.len() as u64,
            "task by itself",
            "tasks by themselves",
        );
        line(text, "Failed", &number);
        list(text, &told.failures, write_failed);
    }
    if !told.open.is_empty() {
        let number = count(
            told.open.len() as u64,
            "task is not finished",
            "tasks are not finished",
        );
        line(text, "Open", &number);
        list(text, &told.open, write_open);
    }
    let first = told.failures.first().map(|task| task.task_id);
    if let Some(task) = first.or(told.open.first().map(|task| task.task_id)) {
        let more = format!("taps-wasm explain {} {task}", run.display());
        line(text, "More", &format!("`{more}` tells the story of a task"));
    }
}

fn end(told: &RunExplanation) -> String {
    let elapsed = format!("{:.3} s", told.elapsed_s);
    let code = told.exit_code.unwrap_or_default();
    let why = told
        .error
        .as_deref()
        .map_or(String::new(), |error| format!(": {error}"));
    match told.state {
        RunState::Finished => format!("finished well after {elapsed}"),
        RunState::Failed => format!("failed after {elapsed} with exit code {code}{why}"),
        RunState::Interrupted => {
            format!("interrupted; ended after {elapsed} with exit code {code}")
        }
        RunState::Killed => format!("none: it was killed, and is last heard of after {elapsed}"),
        RunState::GoingOn => format!("none: it goes on, and is last heard of after {elapsed}"),
    }
}

fn tasks(told: &RunExplanation) -> String {
    let counts = &told.counts;
    let mut parts = vec![format!("{} succeeded", counts.succeeded)];
    let mut add = |number: u64, what: &str| {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    };
    add(counts.failed, "failed");
    add(counts.upstream_failed, "failed because of another");
    let at_end = counts.cancelled_at_end;
    add(counts.cancelled - at_end, "cancelled by the app");
    add(at_end, "cancelled because the run ended");
    add(counts.open, "not finished");
    add(counts.memoized, "memoised");
    format!("{} submitted: {}", counts.submitted, parts.join(", "))
}

fn attempts(told: &RunExplanation) -> String {
    let counts = &told.counts;
    let mut text = count(counts.attempts, "attempt", "attempts");
    if counts.repeated > 0 {
        let _ = write!(text, ", {} of them repeated", counts.repeated);
    }
    if counts.recomputed > 0 {
        let tasks = count(counts.recomputed, "task", "tasks");
        let _ = write!(text, "; {tasks} made again because outputs were lost");
    }
    text
}

fn write_workers(text: &mut String, told: &RunExplanation) {
    if told.workers_lost.is_empty() {
        return;
    }
    let number = count(told.workers_lost.len() as u64, "was lost", "were lost");
    line(text, "Workers", &number);
    list(text, &told.workers_lost, |text, lost| {
        let host = lost.host.as_deref().unwrap_or("a host that it never named");
        let what = format!(
            "worker {} of {host} after {:.3} s: {}",
            lost.worker, lost.time_s, lost.reason
        );
        below(text, 0, &what);
    });
}

fn write_faults(text: &mut String, told: &RunExplanation) {
    let Some(summary) = &told.injection else {
        return;
    };
    let fates: Vec<String> = summary
        .by_fate
        .iter()
        .map(|(fate, number)| format!("{number} {fate}"))
        .collect();
    let mut what = format!(
        "{} injected, {} acted out: {}; {:.3} s lost",
        summary.total,
        summary.acted,
        fates.join(", "),
        summary.time_lost_s
    );
    if summary.bystanders > 0 {
        let others = count(summary.bystanders, "other attempt", "other attempts");
        let _ = write!(what, "; {others} died along");
    }
    line(text, "Faults", &what);
    list(text, &told.faults, write_fault);
}

fn write_fault(text: &mut String, fault: &FaultRecord) {
    let what = format!(
        "{} ({}) in attempt {} of task {} {}[{}]: {}, {:.3} s lost",
        fault.action,
        fault.point,
        fault.attempt,
        fault.task_id,
        fault.name,
        fault.index,
        fault.fate.name(),
        fault.time_lost_s
    );
    below(text, 0, &what);
}

fn write_failed(text: &mut String, task: &FailedTask) {
    let attempts = count(task.attempts, "attempt", "attempts");
    let what = format!(
        "task {} {}[{}], given up after {:.3} s and {attempts}: {}: {}",
        task.task_id, task.name, task.index, task.time_s, task.outcome, task.message
    );
    below(text, 0, &what);
    if task.upstream_of > 0 {
        let others = count(task.upstream_of, "task", "tasks");
        let some = numbers(&task.upstream_of_first, task.upstream_of as usize);
        below(text, 1, &format!("because of it {others} failed: {some}"));
    }
}

fn write_open(text: &mut String, task: &OpenTask) {
    let mut what = format!("task {} {}[{}], ", task.task_id, task.name, task.index);
    match task.state {
        "waiting" => {
            let first = &task.waiting_for[..task.waiting_for.len().min(PARENTS_SHOWN)];
            let parents = numbers(first, task.waiting_for.len());
            let _ = write!(what, "waiting for {parents}");
        }
        "ready" => what.push_str("ready, and waiting for a worker"),
        "retrying" => what.push_str("waiting for its next attempt"),
        state => what.push_str(state),
    }
    if task.again {
        what.push_str(", again because its outputs were lost");
    }
    let _ = write!(what, "; last: {} at {:.3} s", task.last_event, task.since_s);
    below(text, 0, &what);
}

/// The first of some numbers.
fn numbers(first: &[u64], all: usize) -> String {
    let shown: Vec<String> = first.iter().map(u64::to_string).collect();
    let more = if all > first.len() { ", …" } else { "" };
    shown.join(", ") + more
}

fn list<T>(text: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    for item in items.iter().take(SHOWN) {
        write(text, item);
    }
    if items.len() > SHOWN {
        below(
            text,
            0,
            &format!("and {} more; --json has all", items.len() - SHOWN),
        );
    }
}
