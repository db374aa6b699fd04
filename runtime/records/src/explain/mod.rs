//! What became of a run, or of one of its tasks, told from its event log alone: also of a run that was killed,
//! or that goes on.

mod open;
mod story;
mod task;

use crate::{
    EventLog, FaultRecord, InjectionSummary, LogError, LogReader,
    history::{History, TaskHistory, TaskState},
    injection,
};
pub use open::OpenTask;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};
pub use story::{Moment, ParentTask, TaskExplanation, Travelled, What, Why};
use taps_engine::TaskId;
pub use task::{ExplainError, TaskSelector, explain_task};

/// Exit code of a run that was interrupted.
const INTERRUPTED: i32 = 130;

/// How many tasks are named that failed because of one.
const HIT_SHOWN: usize = 8;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It ended, and every check passed.
    Finished,
    /// It ended, and something had failed.
    Failed,
    /// It was told to end before it was done, and did.
    Interrupted,
    /// It is gone without having ended.
    Killed,
    /// A process is still at it.
    GoingOn,
}

/// What became of a run. Times are in seconds since it began, on its own clock, which stands still while it is
/// dead, unless their name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunExplanation {
    /// Name of the app.
    pub app: String,
    /// Version of the app.
    pub app_version: String,
    /// Name of the executor.
    pub executor: String,
    /// Worker slots asked for.
    pub slots: u32,
    /// Host of the coordinator.
    pub host: String,
    /// Seed of the run.
    pub seed: u64,
    /// When it began, in seconds since 1970.
    pub start_unix_s: f64,
    /// How it ended, or that it has not.
    pub state: RunState,
    /// Exit code, when it ended.
    pub exit_code: Option<i32>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Time of its latest event.
    pub elapsed_s: f64,
    /// Byte of the log from which on it is damaged.
    pub damaged_at: Option<u64>,
    /// Tasks and attempts, counted.
    pub counts: RunCounts,
    /// Each time that it went on after it had been killed or interrupted.
    pub resumes: Vec<ResumeExplanation>,
    /// Workers that were lost, in order.
    pub workers_lost: Vec<WorkerLoss>,
    /// The injected faults, counted; `None` when there were none.
    pub injection: Option<InjectionSummary>,
    /// The injected faults.
    pub faults: Vec<FaultRecord>,
    /// Tasks that failed by themselves, first causes first.
    pub failures: Vec<FailedTask>,
    /// Tasks that were never finished, in order of submission.
    pub open: Vec<OpenTask>,
}

/// Tasks and attempts of a run, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    /// Submissions.
    pub submitted: u64,
    /// Tasks that have their outputs.
    pub succeeded: u64,
    /// Tasks that failed by themselves.
    pub failed: u64,
    /// Tasks that failed because a parent did.
    pub upstream_failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Of those, how many because the run ended.
    pub cancelled_at_end: u64,
    /// Tasks that are not finished, those that run again included.
    pub open: u64,
    /// Attempts that were made.
    pub attempts: u64,
    /// Those beyond the first of their task.
    pub repeated: u64,
    /// Tasks that ran again because outputs of theirs were lost, once for each time.
    pub recomputed: u64,
    /// Tasks whose outputs an earlier run had made.
    pub memoized: u64,
}

/// A run that went on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResumeExplanation {
    /// When.
    pub time_s: f64,
    /// When, in seconds since 1970.
    pub unix_s: f64,
    /// Attempts that had been out, and were lost.
    pub attempts_lost: u64,
}

/// A worker that was lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerLoss {
    /// Its number.
    pub worker: u32,
    /// Its host, when it ever joined.
    pub host: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub time_s: f64,
}

/// A task that failed by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedTask {
    /// Sequence number of its submission.
    pub task_id: u64,
    /// Name.
    pub name: String,
    /// Which submission of that name it is, from 0.
    pub index: u64,
    /// Its outcome.
    pub outcome: String,
    /// Type of the error within the outcome.
    pub kind: String,
    /// What was said.
    pub message: String,
    /// Attempts that were made.
    pub attempts: u64,
    /// When it was given up.
    pub time_s: f64,
    /// How many tasks failed because of it.
    pub upstream_of: u64,
    /// Some of those, lowest first.
    pub upstream_of_first: Vec<u64>,
}

/// Tells what became of a run. The log may be one that is being written.
pub fn explain_run(log: &Path) -> Result<RunExplanation, LogError> {
    // Asked first: a run that ends meanwhile has ended, and was not killed.
    let in_use = EventLog::is_in_use(log)?;
    let mut reader = LogReader::open(log)?;
    let mut history = History::default();
    while let Some(event) = reader.next_event()? {
        history.apply(&event);
    }
    if history.started.is_none() {
        return Err(LogError::NoStart {
            path: log.to_owned(),
        });
    }
    let damaged_at = reader.truncated_at().filter(|_| !in_use);
    Ok(explained(&history, in_use, damaged_at))
}

/// What became of a run, as far as its history goes.
fn explained(history: &History, in_use: bool, damaged_at: Option<u64>) -> RunExplanation {
    let started = history.started.as_deref().cloned().unwrap_or_default();
    let ended = history.ended.as_ref();
    let faults = injection::faults(history);
    let elapsed_ns = ended.map_or(history.now_ns, |ended| ended.time_ns);
    RunExplanation {
        app: started.app,
        app_version: started.app_version,
        executor: started.executor,
        slots: started.slots,
        host: started.host,
        seed: started.seed,
        start_unix_s: seconds(started.start_unix_ns),
        state: run_state(history, in_use),
        exit_code: ended.map(|ended| ended.exit_code),
        error: ended.and_then(|ended| ended.error.clone()),
        elapsed_s: seconds(elapsed_ns),
        damaged_at,
        counts: counts(history),
        resumes: resumes(history),
        workers_lost: workers_lost(history),
        injection: (!faults.is_empty()).then(|| injection::summarise(history, &faults)),
        faults,
        failures: failures(history),
        open: open::open_tasks(history),
    }
}

fn run_state(history: &History, in_use: bool) -> RunState {
    match &history.ended {
        Some(ended) if ended.ok => RunState::Finished,
        Some(ended) if ended.exit_code == INTERRUPTED => RunState::Interrupted,
        Some(_) => RunState::Failed,
        None if in_use => RunState::GoingOn,
        None => RunState::Killed,
    }
}

fn resumes(history: &History) -> Vec<ResumeExplanation> {
    let resumes = history.resumes.iter();
    let told = resumes.map(|resume| ResumeExplanation {
        time_s: seconds(resume.time_ns),
        unix_s: seconds(history.wall.at(resume.time_ns)),
        attempts_lost: resume.lost,
    });
    told.collect()
}

fn workers_lost(history: &History) -> Vec<WorkerLoss> {
    let lost = history.workers_lost.iter();
    let told = lost.map(|lost| WorkerLoss {
        worker: lost.worker.0,
        host: history.hosts.get(&lost.worker).cloned(),
        reason: lost.reason.clone(),
        time_s: seconds(lost.time_ns),
    });
    told.collect()
}

fn counts(history: &History) -> RunCounts {
    let mut counts = RunCounts::default();
    for task in history.tasks.values() {
        counts.submitted += 1;
        counts.memoized += u64::from(task.memoized);
        let attempts = task.started_attempts();
        counts.attempts += attempts;
        counts.repeated += attempts.saturating_sub(1);
        let mut last = 0;
        for attempt in &task.attempts {
            counts.recomputed += u64::from(attempt.generation > last);
            last = last.max(attempt.generation);
        }
        match task.state() {
            TaskState::Succeeded => counts.succeeded += 1,
            TaskState::Failed => counts.failed += 1,
            TaskState::UpstreamFailed => counts.upstream_failed += 1,
            TaskState::Cancelled => {
                counts.cancelled += 1;
                counts.cancelled_at_end += u64::from(is_cancelled_at_end(history, task));
            }
            _ => counts.open += 1,
        }
    }
    counts
}

fn is_cancelled_at_end(history: &History, task: &TaskHistory) -> bool {
    match (history.ending_ns, &task.end) {
        (Some(ending_ns), Some(end)) => end.time_ns >= ending_ns,
        _ => false,
    }
}

/// Tasks that failed by themselves, in the order in which they were given up, with those that failed because
/// of them.
fn failures(history: &History) -> Vec<FailedTask> {
    let mut hit: BTreeMap<TaskId, Vec<u64>> = BTreeMap::new();
    // Parents are submitted before their children, so theirs is known.
    let mut causes: HashMap<TaskId, TaskId> = HashMap::new();
    for (&id, task) in &history.tasks {
        match task.state() {
            TaskState::Failed => {
                causes.insert(id, id);
                hit.entry(id).or_default();
            }
            TaskState::UpstreamFailed => {
                let known = task
                    .parents
                    .iter()
                    .filter(|parent| causes.contains_key(parent));
                // Where no cause is known, it is as good as its own.
                let cause = known.min().map_or(id, |parent| causes[parent]);
                causes.insert(id, cause);
                let others = hit.entry(cause).or_default();
                if cause != id {
                    others.push(id.0);
                }
            }
            _ => {}
        }
    }
    let told = hit
        .into_iter()
        .filter_map(|(id, others)| failed_task(history, id, &others));
    let mut told: Vec<FailedTask> = told.collect();
    told.sort_by(|one, other| one.time_s.total_cmp(&other.time_s));
    told
}

fn failed_task(history: &History, id: TaskId, others: &[u64]) -> Option<FailedTask> {
    let task = history.tasks.get(&id)?;
    let end = task.end.as_ref()?;
    let failure = end.failure.as_ref()?;
    Some(FailedTask {
        task_id: id.0,
        name: task.name.to_string(),
        index: task.index,
        outcome: failure.outcome.to_string(),
        kind: failure.kind.clone(),
        message: failure.message.clone(),
        attempts: task.started_attempts(),
        time_s: seconds(end.time_ns),
        upstream_of: others.len() as u64,
        upstream_of_first: others.iter().copied().take(HIT_SHOWN).collect(),
    })
}

/// Nanoseconds as seconds.
fn seconds(time_ns: u64) -> f64 {
    time_ns as f64 / 1e9
}
