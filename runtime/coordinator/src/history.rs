//! What the log of a run says about its earlier life: what its driver did and saw, and how its tasks ended.

use crate::results::ResultFiles;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use taps_engine::{
    AttemptId, AttemptReport, Failure, Generation, OutcomeKind, Output, TaskId,
    core::{INJECTED_PARENT, Past, PastEnd},
};
use taps_payload::{FileRef, Location};
use taps_records::{Delivery, LogEvent, RunStarted, Source};

/// The earlier life of a run.
#[derive(Debug, Default)]
pub struct History {
    /// How it began.
    pub started: Box<RunStarted>,
    /// Its clock at the last event, in nanoseconds.
    pub last_ns: u64,
    pub(crate) steps: VecDeque<Step>,
    pub(crate) tasks: HashMap<TaskId, Past>,
    /// Lines that the driver logged, and pieces of output that it wrote.
    pub(crate) driver_lines: u64,
}

/// Something that the driver did or saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// It submitted a task.
    Submitted {
        task: TaskId,
        name: Arc<str>,
        hash: u64,
    },
    /// It saw something.
    Delivered { delivery: Delivery, time_ns: u64 },
    /// It began a phase.
    Phase { name: Arc<str>, time_ns: u64 },
}

/// Why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log has no first event.
    #[error("the log is empty: the run was killed before it began")]
    Empty,
    /// The run came to an end of its own.
    #[error("the run has ended: {}", if *.ok { "it succeeded" } else { "its app or a check failed" })]
    Ended {
        /// Whether it succeeded.
        ok: bool,
    },
}

impl History {
    /// Tasks that need not run again.
    pub fn ended(&self) -> usize {
        let ended = self.tasks.values().filter(|past| past.end.is_some());
        ended.count()
    }

    /// Tasks that were submitted.
    pub fn submitted(&self) -> usize {
        let submitted = self.steps.iter();
        submitted
            .filter(|step| matches!(step, Step::Submitted { .. }))
            .count()
    }
}

/// Takes the events of a log, in order, and gives the [`History`].
#[derive(Debug, Default)]
pub struct HistoryReader {
    history: History,
    began: bool,
    /// The run was told to end: what fails now was cancelled, and not by the driver.
    ending: bool,
    finished: Option<bool>,
    /// Attempts that carry a fault which ends their worker.
    killers: HashSet<AttemptId>,
}

impl HistoryReader {
    /// The next event.
    pub fn take(&mut self, event: LogEvent) {
        match event {
            LogEvent::RunStarted(started) => {
                self.began = true;
                self.history.started = started;
            }
            LogEvent::Resumed { time_ns, .. } => {
                (self.ending, self.finished) = (false, None);
                self.at(time_ns);
            }
            LogEvent::Ending { time_ns } => {
                self.ending = true;
                self.at(time_ns);
            }
            LogEvent::Submitted {
                task,
                name,
                arguments_hash: hash,
                time_ns,
                ..
            } => {
                self.at(time_ns);
                if &*name != INJECTED_PARENT {
                    self.step(Step::Submitted { task, name, hash });
                }
            }
            LogEvent::AttemptStarted {
                id,
                generation,
                fault,
                time_ns,
                ..
            } => {
                self.at(time_ns);
                let past = self.past(id.task);
                past.attempts = past.attempts.max(id.number + 1);
                past.generation = past.generation.max(Generation(generation));
                if fault.is_some_and(|fault| fault.action.kills()) {
                    self.killers.insert(id);
                }
            }
            LogEvent::AttemptReturned { id, time_ns } => {
                self.at(time_ns);
                self.past(id.task).returned += 1;
            }
            LogEvent::AttemptFinished {
                report,
                received_ns,
                retried,
            } => {
                self.at(received_ns);
                self.reported(*report, retried);
            }
            LogEvent::OutputsLost { outputs, time_ns } => {
                self.at(time_ns);
                for output in outputs {
                    if let Some(PastEnd::Succeeded { lost, .. }) = &mut self.past(output.task).end {
                        lost.push(output.index);
                    }
                }
            }
            LogEvent::Memoized {
                task,
                outputs,
                time_ns,
            } => {
                self.at(time_ns);
                self.past(task).end = Some(succeeded(outputs));
            }
            LogEvent::TaskFinished {
                task,
                failure,
                time_ns,
            } => {
                self.at(time_ns);
                if let Some(failure) = failure {
                    self.failed(task, failure);
                }
            }
            LogEvent::Delivered { delivery, time_ns } => {
                self.at(time_ns);
                self.step(Step::Delivered { delivery, time_ns });
            }
            LogEvent::Phase { name, time_ns } => {
                self.at(time_ns);
                self.step(Step::Phase { name, time_ns });
            }
            LogEvent::GuestLog {
                source: Source::Driver,
                time_ns,
                ..
            }
            | LogEvent::GuestOutput {
                source: Source::Driver,
                time_ns,
                ..
            } => {
                self.at(time_ns);
                self.history.driver_lines += u64::from(!self.ending);
            }
            LogEvent::WorkerLost { time_ns, .. }
            | LogEvent::ReportRepeated { time_ns, .. }
            | LogEvent::GuestLog { time_ns, .. }
            | LogEvent::GuestOutput { time_ns, .. } => self.at(time_ns),
            LogEvent::WorkerJoined(_) => {}
            LogEvent::RunFinished { ok, time_ns, .. } => {
                self.at(time_ns);
                self.finished = Some(ok);
            }
        }
    }

    /// What the driver does when the run is told to end, it does for that.
    fn step(&mut self, step: Step) {
        if !self.ending {
            self.history.steps.push_back(step);
        }
    }

    fn at(&mut self, time_ns: u64) {
        self.history.last_ns = self.history.last_ns.max(time_ns);
    }

    fn past(&mut self, task: TaskId) -> &mut Past {
        self.history.tasks.entry(task).or_default()
    }

    fn reported(&mut self, report: AttemptReport, retried: bool) {
        let id = report.id;
        let kills = self.killers.remove(&id);
        let past = self.history.tasks.entry(id.task).or_default();
        let failure = match report.result {
            Ok(outputs) => {
                past.tries += 1;
                past.end = Some(match past.end.take() {
                    Some(PastEnd::Succeeded { outputs: had, lost }) => renewed(had, &lost, outputs),
                    _ => succeeded(outputs),
                });
                return;
            }
            Err(failure) => failure,
        };
        let crashed = failure.outcome == OutcomeKind::WorkerLost;
        past.crashes += u16::from(crashed);
        // It failed for an input that was made again: neither a try nor a retry of its own.
        let blameless = retried && !report.lost_inputs.is_empty();
        if !blameless {
            past.tries += u32::from(!crashed || kills);
        }
        if retried {
            past.retried.extend((!blameless).then_some(failure.outcome));
        } else {
            self.failed(id.task, failure);
        }
    }

    fn failed(&mut self, task: TaskId, failure: Failure) {
        if !self.ending {
            self.past(task).end = Some(PastEnd::Failed(failure));
        }
    }

    /// Says how the run began, once that is known.
    pub fn started(&self) -> &RunStarted {
        &self.history.started
    }

    /// The whole history. Results that were kept in files are found there; the bytes of all others but
    /// small ones are lost, and made again when they are needed. Fails when the run is not to be resumed.
    pub fn finish(self, results: &ResultFiles) -> Result<History, HistoryError> {
        if !self.began {
            return Err(HistoryError::Empty);
        }
        if let Some(ok) = self.finished
            && !self.ending
        {
            return Err(HistoryError::Ended { ok });
        }
        let mut history = self.history;
        for (&task, past) in &mut history.tasks {
            if let Some(PastEnd::Succeeded { outputs, lost }) = &mut past.end {
                for (index, output) in outputs.iter_mut().enumerate() {
                    let index = index as u32;
                    if lost.contains(&index) {
                        continue;
                    }
                    match still_there(&output.location, results, task, index) {
                        Some(location) => output.location = location,
                        None => lost.push(index),
                    }
                }
            }
        }
        Ok(history)
    }
}

fn succeeded(outputs: Vec<Output>) -> PastEnd {
    PastEnd::Succeeded {
        outputs,
        lost: Vec::new(),
    }
}

/// A task that ran again replaced what was lost.
fn renewed(mut had: Vec<Output>, lost: &[u32], made: Vec<Output>) -> PastEnd {
    for (index, output) in made.into_iter().enumerate() {
        if index >= had.len() {
            had.push(output);
        } else if lost.contains(&(index as u32)) {
            had[index] = output;
        }
    }
    succeeded(had)
}

/// Where the bytes of an output are now, if they outlived the run's processes.
fn still_there(
    location: &Location,
    results: &ResultFiles,
    task: TaskId,
    index: u32,
) -> Option<Location> {
    match location {
        Location::Inline(_) => Some(location.clone()),
        Location::File(file) => {
            let now = FileRef::open(&file.path).ok();
            let same = now.is_some_and(|now| now.fingerprint == file.fingerprint);
            // A program's, which went with the run that was interrupted.
            let kept = || {
                results
                    .find(task, index, file.fingerprint.len)
                    .map(Location::File)
            };
            if same { Some(location.clone()) } else { kept() }
        }
        Location::Segment(segment) => results.find(task, index, segment.len).map(Location::File),
        Location::Stored(_) | Location::Engine { .. } => None,
    }
}
