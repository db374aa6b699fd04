//! The story of one task.

use super::{Moment, ParentTask, TaskExplanation, Travelled, What, Why, run_state, seconds};
use crate::{
    Delivery, EventLog, LogError, LogEvent, LogReader, Source, SubmitOptions, TaskStatus,
    history::{AttemptEnd, History, time_of},
    tasks::way_name,
};
use std::{collections::BTreeMap, fmt::Write as _, path::Path};
use taps_engine::{AttemptReport, Failure, FaultPlan, OutcomeKind, TaskId};
use taps_payload::Transfer;

/// How many names of tasks an error lists.
const NAMES_SHOWN: usize = 10;

/// Which task is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskSelector {
    /// The task with that sequence number.
    Id(u64),
    /// The n-th submission of a name, from 0.
    Named(String, u64),
}

impl TaskSelector {
    /// Reads `17`, or `name[3]`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        let (name, index) = text.strip_suffix(']')?.rsplit_once('[')?;
        Some(Self::Named(name.to_owned(), index.parse().ok()?))
    }
}

impl std::fmt::Display for TaskSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Named(name, index) => write!(f, "{name}[{index}]"),
        }
    }
}

/// Why the story of a task cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The run has no such task.
    #[error("the run has no task `{task}`; {}", what_there_is(*.submitted, .names))]
    NoSuchTask {
        /// The task asked for.
        task: TaskSelector,
        /// How many tasks there are.
        submitted: u64,
        /// Their names, and how many tasks each has.
        names: BTreeMap<String, u64>,
    },
}

fn what_there_is(submitted: u64, names: &BTreeMap<String, u64>) -> String {
    if submitted == 0 {
        return "it submitted none".to_owned();
    }
    let mut text = match submitted {
        1 => "it has only task 0".to_owned(),
        _ => format!("it has tasks 0 to {}", submitted - 1),
    };
    for (position, (name, count)) in names.iter().take(NAMES_SHOWN).enumerate() {
        text.push_str(if position == 0 { ": " } else { ", " });
        // Writing to a String cannot fail.
        let _ = match count {
            1 => write!(text, "{name}[0]"),
            _ => write!(text, "{name}[0] to {name}[{}]", count - 1),
        };
    }
    if names.len() > NAMES_SHOWN {
        text.push_str(", …");
    }
    text
}

/// Tells the story of a task. The log may be one that is being written.
pub fn explain_task(log: &Path, task: &TaskSelector) -> Result<TaskExplanation, ExplainError> {
    let in_use = EventLog::is_in_use(log)?;
    let mut teller = Teller::new(task.clone());
    for event in LogReader::open(log)? {
        teller.hear(&event?);
    }
    teller.finish(in_use)
}

/// Listens to the log for one task.
struct Teller {
    task: TaskSelector,
    history: History,
    /// The task, once it was submitted.
    id: Option<TaskId>,
    options: SubmitOptions,
    story: Vec<Moment>,
}

impl Teller {
    fn new(task: TaskSelector) -> Self {
        Self {
            task,
            history: History::default(),
            id: None,
            options: SubmitOptions::default(),
            story: Vec::new(),
        }
    }

    fn hear(&mut self, event: &LogEvent) {
        let out = self.attempt_out();
        let open = self.is_open();
        let parent_was_open = self
            .parent_of(event)
            .filter(|parent| self.is_open_task(*parent));
        self.history.apply(event);
        let time_ns = time_of(event).unwrap_or(self.history.now_ns);
        if self.id.is_none() {
            self.meet(event);
        }
        if let Some(parent) = parent_was_open {
            self.parent_ended(parent, time_ns);
        }
        let Some(id) = self.id else {
            return;
        };
        let what = match event {
            LogEvent::Resumed { .. } if open || out.is_some() => Some(What::RunResumed {
                lost_attempt: out.map(|(number, _)| number),
            }),
            LogEvent::Ending { .. } if open => Some(What::RunEnding),
            LogEvent::WorkerLost { worker, reason, .. } => out
                .filter(|(_, of_attempt)| *of_attempt == Some(worker.0))
                .map(|_| What::WorkerLost {
                    worker: worker.0,
                    reason: reason.clone(),
                }),
            LogEvent::Delivered { delivery, .. } => delivered(id, delivery),
            of_guest @ (LogEvent::GuestOutput { .. } | LogEvent::GuestLog { .. }) => {
                said(id, of_guest)
            }
            of_task => self.of_task(id, of_task),
        };
        if let Some(what) = what {
            self.tell(time_ns, what);
        }
    }

    fn tell(&mut self, time_ns: u64, what: What) {
        self.story.push(Moment {
            time_s: seconds(time_ns),
            unix_s: seconds(self.history.wall.at(time_ns)),
            what,
        });
    }

    /// Finds out whether this is the submission of the task.
    fn meet(&mut self, event: &LogEvent) {
        let LogEvent::Submitted { task, options, .. } = event else {
            return;
        };
        let is_meant = self
            .history
            .tasks
            .get(task)
            .is_some_and(|history| match &self.task {
                TaskSelector::Id(id) => *id == task.0,
                TaskSelector::Named(name, index) => {
                    *name == *history.name && *index == history.index
                }
            });
        if is_meant {
            self.id = Some(*task);
            self.options = *options;
        }
    }

    fn is_open(&self) -> bool {
        self.id.is_some_and(|id| self.is_open_task(id))
    }

    fn is_open_task(&self, id: TaskId) -> bool {
        let task = self.history.tasks.get(&id);
        task.is_some_and(|task| task.end.is_none())
    }

    /// Number and worker of the attempt that is out.
    fn attempt_out(&self) -> Option<(u32, Option<u32>)> {
        let task = self.history.tasks.get(&self.id?)?;
        let attempt = task.attempts.last().filter(|attempt| attempt.is_out())?;
        Some((attempt.number, attempt.worker.map(|worker| worker.0)))
    }

    /// The parent that an event may end.
    fn parent_of(&self, event: &LogEvent) -> Option<TaskId> {
        let parent = match event {
            LogEvent::AttemptFinished { report, .. } => report.id.task,
            LogEvent::TaskFinished { task, .. } | LogEvent::Memoized { task, .. } => *task,
            _ => return None,
        };
        let task = self.history.tasks.get(&self.id?)?;
        task.parents.contains(&parent).then_some(parent)
    }

    fn parent_ended(&mut self, parent: TaskId, time_ns: u64) {
        let Some(history) = self.history.tasks.get(&parent) else {
            return;
        };
        if history.end.is_none() {
            return;
        }
        let what = What::ParentEnded {
            task_id: parent.0,
            name: history.name.to_string(),
            outcome: outcome_of(history.failure()),
        };
        self.tell(time_ns, what);
    }

    /// What an event says of the task, when it is about it.
    fn of_task(&self, id: TaskId, event: &LogEvent) -> Option<What> {
        let what = match event {
            LogEvent::Submitted { task, .. } if *task == id => What::Submitted,
            LogEvent::AttemptStarted {
                id: attempt,
                worker,
                fault,
                ..
            } if attempt.task == id => What::Sent {
                attempt: attempt.number,
                worker: worker.map(|worker| worker.0),
                why: self.why(id),
                fault: fault.as_ref().map(fault_names),
            },
            LogEvent::AttemptReturned { id: attempt, .. } if attempt.task == id => What::CameBack {
                attempt: attempt.number,
            },
            LogEvent::AttemptFinished {
                report, retried, ..
            } if report.id.task == id => ended(report, *retried),
            LogEvent::ReportRepeated { id: attempt, .. } if attempt.task == id => {
                What::ReportedAgain {
                    attempt: attempt.number,
                }
            }
            LogEvent::OutputsLost { outputs, .. } => {
                let own = outputs.iter().filter(|output| output.task == id);
                let outputs: Vec<u32> = own.map(|output| output.index).collect();
                if outputs.is_empty() {
                    return None;
                }
                What::OutputsLost { outputs }
            }
            LogEvent::Memoized { task, outputs, .. } if *task == id => What::Memoized {
                bytes: outputs.iter().map(|output| output.location.len()).sum(),
            },
            LogEvent::TaskFinished { task, failure, .. } if *task == id => What::Finished {
                outcome: outcome_of(failure.as_ref()),
                failure: failure.as_ref().map(said_of),
            },
            _ => return None,
        };
        Some(what)
    }

    /// Why the latest attempt was made.
    fn why(&self, id: TaskId) -> Why {
        let attempts = self.history.tasks.get(&id).map(|task| &task.attempts[..]);
        let Some([.., before, latest]) = attempts else {
            return Why::First;
        };
        match &before.end {
            AttemptEnd::Returned(_) => Why::CameBack,
            AttemptEnd::Killed(_) => Why::Resumed,
            AttemptEnd::Finished(finished)
                if latest.generation > before.generation || finished.outcome == OutcomeKind::Ok =>
            {
                Why::OutputsLost
            }
            _ => Why::Retry,
        }
    }

    fn finish(self, in_use: bool) -> Result<TaskExplanation, ExplainError> {
        let history = &self.history;
        let found = self.id.and_then(|id| Some((id, history.tasks.get(&id)?)));
        let Some((id, task)) = found else {
            let names = history.names().into_iter();
            return Err(ExplainError::NoSuchTask {
                submitted: history.tasks.len() as u64,
                names: names
                    .map(|(name, count)| (name.to_owned(), count))
                    .collect(),
                task: self.task,
            });
        };
        let parent = |parent: &TaskId| {
            let known = history.tasks.get(parent)?;
            Some(ParentTask {
                task_id: parent.0,
                name: known.name.to_string(),
                index: known.index,
                state: known.state().name(),
            })
        };
        let phase = (task.phase as usize).checked_sub(1);
        let phase = phase.and_then(|index| history.phases.get(index));
        Ok(TaskExplanation {
            task_id: id.0,
            name: task.name.to_string(),
            index: task.index,
            label: task.label.as_deref().map(str::to_owned),
            phase: phase.map(ToString::to_string),
            options: self.options,
            state: task.state().name(),
            run: run_state(history, in_use),
            attempts: task.started_attempts(),
            parents: task.parents.iter().filter_map(parent).collect(),
            story: self.story,
        })
    }
}

fn ended(report: &AttemptReport, retried: bool) -> What {
    let failure = report.result.as_ref().err();
    let times = &report.timeline;
    let ran = times.task_start > 0 && times.task_end > 0;
    What::Ended {
        attempt: report.id.number,
        // A report without a worker has the number that none has.
        worker: Some(report.worker.0).filter(|worker| *worker != u32::MAX),
        outcome: outcome_of(failure),
        failure: failure.map(said_of),
        detail: failure.and_then(|failure| failure.detail.clone()),
        retried,
        injected: report.injected.as_ref().map(fault_names),
        run_s: ran.then(|| seconds(times.task_end.saturating_sub(times.task_start))),
        peak_memory_bytes: report.peak_memory_bytes,
        inputs: report.inputs.iter().map(travelled).collect(),
        outputs: report.outputs.iter().map(travelled).collect(),
        lost_inputs: report.lost_inputs.clone(),
        notes: report.notes.clone(),
    }
}

fn travelled(transfer: &Transfer) -> Travelled {
    Travelled {
        bytes: transfer.bytes,
        moved: transfer.bytes_moved,
        way: way_name(transfer.way),
    }
}

fn fault_names(plan: &FaultPlan) -> (&'static str, &'static str) {
    (plan.action.name(), plan.point.name())
}

fn outcome_of(failure: Option<&Failure>) -> String {
    let outcome = failure.map_or(OutcomeKind::Ok, |failure| failure.outcome);
    outcome.to_string()
}

fn said_of(failure: &Failure) -> (String, String) {
    (failure.kind.clone(), failure.message.clone())
}

/// What the driver was told of a task.
fn delivered(id: TaskId, delivery: &Delivery) -> Option<What> {
    let status = |status: TaskStatus| match status {
        TaskStatus::Pending => "pending",
        TaskStatus::Succeeded => "succeeded",
        TaskStatus::Failed => "failed",
    };
    let (what, told) = match delivery {
        Delivery::Completions(completions) => {
            let own = completions
                .iter()
                .find(|completion| completion.task == id)?;
            ("completion", status(own.status).to_owned())
        }
        Delivery::Status { task, status: told } if *task == id => {
            ("status", status(*told).to_owned())
        }
        Delivery::Result { output, len } if output.task == id => {
            ("result", format!("output {} of {len} bytes", output.index))
        }
        Delivery::Failure { task, outcome } if *task == id => ("failure", outcome.to_string()),
        _ => return None,
    };
    Some(What::Delivered { what, told })
}

/// What the guest of an attempt of a task said.
fn said(id: TaskId, event: &LogEvent) -> Option<What> {
    let of = |source: &Source| match source {
        Source::Attempt(attempt) if attempt.task == id => Some(attempt.number),
        _ => None,
    };
    match event {
        LogEvent::GuestOutput {
            source,
            stream,
            text,
            truncated_bytes,
            ..
        } => Some(What::Output {
            attempt: of(source)?,
            stream: *stream,
            text: text.clone(),
            truncated_bytes: *truncated_bytes,
        }),
        LogEvent::GuestLog {
            source,
            level,
            message,
            ..
        } => Some(What::Logged {
            attempt: of(source)?,
            level: *level,
            message: message.clone(),
        }),
        _ => None,
    }
}
