//! `failures.json`: each injected fault, and what became of it. A view of the event log.
//!
//! ```text
//!  carried ─► acted ─► the attempt gave its outputs ─┬─► nobody was hurt ───────────► absorbed
//!     │          │                                   ├─► wrong, and nobody noticed ─► silent
//!     │          │                                   └─► lost or noticed ─┐
//!     │          └───► the attempt failed, or was lost with its worker ───┴─┬─► recovered
//!     ▼                                                                     ├─► propagated
//!  not-acted                                                                └─► unfinished
//! ```

mod fate;

use crate::{
    LogError, LogEvent, LogReader, ViewError,
    history::{Attempt, History},
    whole_file::WholeFile,
};
use fate::Judge;
use serde::Serialize;
use std::{collections::BTreeMap, io::Write, path::Path};
use taps_engine::TaskId;

/// Workers that are lost within this time of each other may be so for one reason: a manager or a node that
/// dies takes all of its workers along, and each is noticed by itself.
const WAVE_NS: u64 = 100_000_000;

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The tasks that it hit succeeded in the end, after at least one more attempt.
    Recovered,
    /// A task failed for it in the end.
    Propagated,
    /// The attempt gave its outputs all the same, and nothing had to be done again.
    Absorbed,
    /// Bytes were changed, and nothing noticed.
    Silent,
    /// It was planned, and the attempt did not come to it: it was cancelled, say, or ended before.
    NotActed,
    /// The run ended, or the task was cancelled, before it was known.
    Unfinished,
}

impl Fate {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Propagated => "propagated",
            Self::Absorbed => "absorbed",
            Self::Silent => "silent",
            Self::NotActed => "not-acted",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A fault that an attempt carried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRecord {
    /// What it does: a name of [`FaultAction`](taps_engine::FaultAction).
    #[serde(rename = "type")]
    pub action: &'static str,
    /// When it strikes: `before`, `mid` or `after` the task function.
    pub point: &'static str,
    /// The task, by the sequence number of its submission.
    pub task_id: u64,
    /// Name of the task.
    pub name: String,
    /// Which submission of that name it is, from 0.
    pub index: u64,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// How many attempts of the task came to an end of their own before.
    #[serde(rename = "try")]
    pub tried: u64,
    /// Where the attempt was sent, when the run chose.
    pub worker: Option<u32>,
    /// When the attempt was sent, in seconds since the run began.
    pub started_s: f64,
    /// When its end was known, in the same way.
    pub ended_s: Option<f64>,
    /// How long the task function ran, in seconds, when it returned.
    pub run_s: Option<f64>,
    /// Outcome of the attempt, when there was one.
    pub outcome: Option<&'static str>,
    /// Whether the fault was acted out.
    pub acted: bool,
    /// What became of it.
    pub fate: Fate,
    /// Time from the start of the attempt to that of the one that made up for it, in seconds; for faults that
    /// delay the delay, for results that were made again the time that this took.
    pub time_lost_s: f64,
}

/// The faults of a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InjectionSummary {
    /// Attempts that carried a fault.
    pub total: u64,
    /// Those that were acted out.
    pub acted: u64,
    /// How many there were of each type.
    pub by_type: BTreeMap<&'static str, u64>,
    /// What became of how many: names of [`Fate`].
    pub by_fate: BTreeMap<&'static str, u64>,
    /// Attempts without a fault that ends workers, lost with a worker that the fault of another ended.
    pub bystanders: u64,
    /// Sum of the time lost to each, in seconds; faults that strike at the same time count each by itself.
    pub time_lost_s: f64,
}

/// What there is in `failures.json`.
#[derive(Serialize)]
struct Report<'a> {
    summary: &'a InjectionSummary,
    faults: &'a [FaultRecord],
}

/// Writes `failures.json` of a log, unless no attempt carried a fault: then there is no such file. It appears when
/// it is whole. Memory is bounded by a few words for each task, and by the tasks that were hit or failed.
pub fn write_failures_json(log: &Path, failures: &Path) -> Result<InjectionSummary, ViewError> {
    let (faults, summary) = read_faults(log)?;
    if summary.total == 0 {
        return Ok(summary);
    }
    let failed = |source| ViewError::Write {
        path: failures.to_owned(),
        source,
    };
    let report = Report {
        summary: &summary,
        faults: &faults,
    };
    let mut text = serde_json::to_vec_pretty(&report).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    let mut file = WholeFile::create(failures).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    file.commit().map_err(failed)?;
    Ok(summary)
}

/// The faults of a log in the order of tasks and attempts, and their counts: what is in `failures.json`.
pub fn read_faults(log: &Path) -> Result<(Vec<FaultRecord>, InjectionSummary), LogError> {
    let mut history = History::default();
    for event in LogReader::open(log)? {
        let event = event?;
        history.apply(&event);
        if let Some(task) = may_be_forgotten(&history, &event) {
            history.forget(task);
        }
    }
    let faults = faults(&history);
    let summary = summarise(&history, &faults);
    Ok((faults, summary))
}

/// The task of an event, when it ended well and has nothing to do with faults so far.
fn may_be_forgotten(history: &History, event: &LogEvent) -> Option<TaskId> {
    let id = match event {
        LogEvent::AttemptFinished { report, .. } => report.id.task,
        LogEvent::TaskFinished { task, .. } | LogEvent::Memoized { task, .. } => *task,
        _ => return None,
    };
    let task = history.tasks.get(&id)?;
    let plain = |attempt: &Attempt| attempt.fault.is_none() && !attempt.was_lost();
    (task.succeeded() && task.attempts.iter().all(plain)).then_some(id)
}

/// The faults of a run, in the order of tasks and attempts.
pub(crate) fn faults(history: &History) -> Vec<FaultRecord> {
    let judge = Judge::new(history);
    let mut faults = Vec::new();
    for (id, task) in &history.tasks {
        for attempt in &task.attempts {
            if let Some(plan) = attempt.fault {
                faults.push(judge.record(*id, task, attempt, plan));
            }
        }
    }
    faults
}

/// Counts the faults of a run.
pub(crate) fn summarise(history: &History, faults: &[FaultRecord]) -> InjectionSummary {
    let mut summary = InjectionSummary {
        bystanders: bystanders(history),
        ..InjectionSummary::default()
    };
    for fault in faults {
        summary.total += 1;
        summary.acted += u64::from(fault.acted);
        *summary.by_type.entry(fault.action).or_default() += 1;
        *summary.by_fate.entry(fault.fate.name()).or_default() += 1;
        summary.time_lost_s += fault.time_lost_s;
    }
    // Sums of decimals are not quite decimals.
    summary.time_lost_s = (summary.time_lost_s * 1e9).round() / 1e9;
    summary
}

/// Attempts that were lost with a worker for the fault of another attempt: in the same wave.
fn bystanders(history: &History) -> u64 {
    let attempts = history.tasks.values().flat_map(|task| &task.attempts);
    let lost = attempts.filter(|attempt| attempt.was_lost());
    let mut lost: Vec<(u64, bool)> = lost
        .filter_map(|attempt| Some((attempt.ended_ns()?, attempt.kills())))
        .collect();
    lost.sort_unstable();
    let waves = lost.chunk_by(|(one, _), (other, _)| other - one <= WAVE_NS);
    let killed = waves.filter(|wave| wave.iter().any(|(_, kills)| *kills));
    killed
        .map(|wave| wave.iter().filter(|(_, kills)| !kills).count() as u64)
        .sum()
}
