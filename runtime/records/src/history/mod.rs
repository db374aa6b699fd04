//! What became of each task of a run: the log, folded up.
//!
//! The reports that look at a run as a whole are made of this. It holds a few words for each task, and
//! more for those that are open or of interest; whoever applies events may [forget](History::forget)
//! the rest.

mod task;

use crate::{LogEvent, RunStarted, wall::WallClock};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use taps_engine::{AttemptId, AttemptReport, Failure, OutcomeKind, TaskId, WorkerId, WorkerInfo};
pub(crate) use task::{Attempt, AttemptEnd, Finished, TaskHistory, TaskState};

/// A run, up to an event.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) started: Option<Box<RunStarted>>,
    pub(crate) wall: WallClock,
    /// Time of the latest event.
    pub(crate) now_ns: u64,
    pub(crate) resumes: Vec<Resume>,
    /// When the run was told to end.
    pub(crate) ending_ns: Option<u64>,
    pub(crate) ended: Option<RunEnd>,
    /// Hosts of workers, as they last joined.
    pub(crate) hosts: BTreeMap<WorkerId, String>,
    pub(crate) workers_lost: Vec<LostWorker>,
    pub(crate) phases: Vec<Arc<str>>,
    pub(crate) tasks: BTreeMap<TaskId, TaskHistory>,
    /// How many submissions a name has had.
    names: HashMap<Arc<str>, u64>,
}

/// The run went on after a kill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    pub(crate) time_ns: u64,
    /// Attempts that were out, and are lost.
    pub(crate) lost: u64,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    pub(crate) ok: bool,
    pub(crate) exit_code: i32,
    pub(crate) error: Option<String>,
    pub(crate) time_ns: u64,
}

/// A worker that is gone.
#[derive(Clone, Debug)]
pub(crate) struct LostWorker {
    pub(crate) worker: WorkerId,
    pub(crate) reason: String,
    pub(crate) time_ns: u64,
}

impl History {
    /// Applies an event. Whatever a damaged log says, this copes: what fits nowhere is left out.
    pub(crate) fn apply(&mut self, event: &LogEvent) {
        if let Some(time_ns) = time_of(event) {
            self.now_ns = self.now_ns.max(time_ns);
        }
        match event {
            LogEvent::RunStarted(started) => {
                self.wall.set(0, started.start_unix_ns);
                self.started = Some(started.clone());
            }
            LogEvent::Resumed { time_ns, unix_ns } => self.resumed(*time_ns, *unix_ns),
            LogEvent::Ending { time_ns } => self.ending_ns = Some(*time_ns),
            LogEvent::WorkerJoined(WorkerInfo { id, host, .. }) => {
                self.hosts.insert(*id, host.clone());
            }
            LogEvent::WorkerLost {
                worker,
                reason,
                time_ns,
            } => self.workers_lost.push(LostWorker {
                worker: *worker,
                reason: reason.clone(),
                time_ns: *time_ns,
            }),
            LogEvent::Phase { name, .. } => self.phases.push(Arc::clone(name)),
            LogEvent::RunFinished {
                ok,
                exit_code,
                error,
                time_ns,
                ..
            } => {
                self.ended = Some(RunEnd {
                    ok: *ok,
                    exit_code: *exit_code,
                    error: error.clone(),
                    time_ns: *time_ns,
                });
            }
            LogEvent::Delivered { .. }
            | LogEvent::GuestOutput { .. }
            | LogEvent::GuestLog { .. } => {}
            of_task => self.apply_to_task(of_task),
        }
    }

    fn apply_to_task(&mut self, event: &LogEvent) {
        match event {
            LogEvent::Submitted { task, name, .. } => {
                if !self.tasks.contains_key(task)
                    && let Some(history) = TaskHistory::submitted(event, self.next_index(name))
                {
                    self.tasks.insert(*task, history);
                }
            }
            LogEvent::AttemptStarted {
                id,
                worker,
                generation,
                fault,
                time_ns,
            } => {
                if let Some(task) = self.tasks.get_mut(&id.task) {
                    task.start(Attempt {
                        number: id.number,
                        worker: *worker,
                        generation: *generation,
                        fault: *fault,
                        started_ns: *time_ns,
                        end: AttemptEnd::Out,
                        repeated: false,
                    });
                }
            }
            LogEvent::AttemptReturned { id, time_ns } => {
                self.end_attempt(*id, AttemptEnd::Returned(*time_ns));
            }
            LogEvent::AttemptFinished {
                report,
                received_ns,
                retried,
            } => self.reported(report, *received_ns, *retried),
            LogEvent::ReportRepeated { id, .. } => {
                if let Some(attempt) = self.attempt_mut(*id) {
                    attempt.repeated = true;
                }
            }
            LogEvent::OutputsLost { outputs, time_ns } => {
                for output in outputs {
                    if let Some(task) = self.tasks.get_mut(&output.task) {
                        task.outputs_lost_ns.push(*time_ns);
                    }
                }
            }
            LogEvent::Memoized { task, time_ns, .. } => {
                if let Some(task) = self.tasks.get_mut(task) {
                    task.memoized = true;
                    task.finish(None, *time_ns);
                }
            }
            LogEvent::TaskFinished {
                task,
                failure,
                time_ns,
            } => self.task_finished(*task, failure.as_ref(), *time_ns),
            _ => {}
        }
    }

    fn next_index(&mut self, name: &Arc<str>) -> u64 {
        let count = self.names.entry(Arc::clone(name)).or_default();
        *count += 1;
        *count - 1
    }

    /// Names of tasks and how many submissions each has had, in order of the names.
    pub(crate) fn names(&self) -> BTreeMap<&str, u64> {
        self.names
            .iter()
            .map(|(name, count)| (&**name, *count))
            .collect()
    }

    fn attempt_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        let attempts = self.tasks.get_mut(&id.task)?.attempts.iter_mut();
        attempts.rev().find(|attempt| attempt.number == id.number)
    }

    fn end_attempt(&mut self, id: AttemptId, end: AttemptEnd) {
        if let Some(attempt) = self.attempt_mut(id)
            && attempt.is_out()
        {
            attempt.end = end;
        }
    }

    fn resumed(&mut self, time_ns: u64, unix_ns: u64) {
        self.wall.set(time_ns, unix_ns);
        let ending_ns = self.ending_ns.take().unwrap_or(u64::MAX);
        self.ended = None;
        let mut lost = 0;
        for task in self.tasks.values_mut() {
            task.go_on(ending_ns);
            for attempt in task.attempts.iter_mut().filter(|attempt| attempt.is_out()) {
                attempt.end = AttemptEnd::Killed(time_ns);
                lost += 1;
            }
        }
        self.resumes.push(Resume { time_ns, lost });
    }

    fn reported(&mut self, report: &AttemptReport, received_ns: u64, retried: bool) {
        self.end_attempt(
            report.id,
            AttemptEnd::Finished(Box::new(Finished::new(report, received_ns))),
        );
        if report.outcome() == OutcomeKind::PayloadError {
            self.blame_parents(report.id.task, received_ns);
        }
        let failure = report.result.as_ref().err();
        let last = failure.is_none() || !retried;
        if let Some(task) = self.tasks.get_mut(&report.id.task)
            && last
            && task.end.is_none()
        {
            task.finish(failure.cloned(), received_ns);
        }
    }

    fn task_finished(&mut self, id: TaskId, failure: Option<&Failure>, time_ns: u64) {
        if let Some(task) = self.tasks.get_mut(&id)
            && task.end.is_none()
        {
            task.finish(failure.cloned(), time_ns);
        }
    }

    /// An attempt of a task failed because of its inputs.
    fn blame_parents(&mut self, id: TaskId, time_ns: u64) {
        let Some(parents) = self.tasks.get(&id).map(|task| task.parents.clone()) else {
            return;
        };
        for parent in &parents {
            if let Some(parent) = self.tasks.get_mut(parent) {
                parent.blamed_ns = parent.blamed_ns.max(time_ns);
            }
        }
    }

    /// Drops what is known of the attempts of a task, but not its name.
    pub(crate) fn forget(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.attempts = Vec::new();
            task.parents = Box::default();
            task.label = None;
        }
    }
}

/// Time of an event, where it has one.
pub(crate) fn time_of(event: &LogEvent) -> Option<u64> {
    Some(match event {
        LogEvent::RunStarted(_) | LogEvent::WorkerJoined(_) => return None,
        LogEvent::AttemptFinished { received_ns, .. } => *received_ns,
        LogEvent::Resumed { time_ns, .. }
        | LogEvent::Ending { time_ns }
        | LogEvent::WorkerLost { time_ns, .. }
        | LogEvent::Submitted { time_ns, .. }
        | LogEvent::AttemptStarted { time_ns, .. }
        | LogEvent::AttemptReturned { time_ns, .. }
        | LogEvent::ReportRepeated { time_ns, .. }
        | LogEvent::OutputsLost { time_ns, .. }
        | LogEvent::Memoized { time_ns, .. }
        | LogEvent::TaskFinished { time_ns, .. }
        | LogEvent::Delivered { time_ns, .. }
        | LogEvent::Phase { time_ns, .. }
        | LogEvent::GuestOutput { time_ns, .. }
        | LogEvent::GuestLog { time_ns, .. }
        | LogEvent::RunFinished { time_ns, .. } => *time_ns,
    })
}
