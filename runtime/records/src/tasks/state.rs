//! What must be remembered of a run while its log streams by.

use super::{Lines, line::Line};
use crate::{LogEvent, wall::WallClock};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};
use taps_engine::{AttemptId, AttemptReport, Failure, FaultPlan, OutcomeKind, TaskId, WorkerId};

/// Facts of the whole run.
#[derive(Debug, Default)]
pub(super) struct Run {
    wall: WallClock,
    host: String,
    workers: HashMap<WorkerId, Worker>,
    phases: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Worker {
    host: String,
    /// Why it was lost, when it was.
    lost: Option<String>,
}

impl Run {
    /// Wall clock at a time of the run, nanoseconds since 1970.
    pub(super) fn wall_ns(&self, time_ns: u64) -> u64 {
        self.wall.at(time_ns)
    }

    /// Host of a worker; of the coordinator when the worker never joined.
    pub(super) fn host_of(&self, worker: WorkerId) -> &str {
        self.workers
            .get(&worker)
            .map_or(&self.host, |worker| &worker.host)
    }

    /// Name of the phase with that number; there is none before the first.
    pub(super) fn phase(&self, number: u32) -> Option<&str> {
        let index = (number as usize).checked_sub(1)?;
        self.phases.get(index).map(|name| &**name)
    }

    /// The failure of an attempt that never reported.
    fn lost_attempt(&self, running: Running) -> Failure {
        let reason = running
            .worker
            .and_then(|worker| self.workers.get(&worker))
            .and_then(|worker| worker.lost.as_deref());
        Failure::new(
            OutcomeKind::WorkerLost,
            reason.unwrap_or("the attempt was never reported"),
        )
    }
}

/// A task that has not had its last line.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) name: Arc<str>,
    pub(super) parents: Vec<TaskId>,
    pub(super) label: Option<Arc<str>>,
    pub(super) submitted_ns: u64,
    pub(super) phase: u32,
    /// The attempt that started and has not reported.
    running: Option<Running>,
    /// Attempts that came back before they had started.
    pub(super) returned: u32,
    /// How the task ended while an attempt was still running, and when.
    ended: Option<(Failure, u64)>,
    /// Whether its outputs are those of an earlier run.
    pub(super) memoized: bool,
    /// Whether the task has had its last line: it runs again because its output was lost.
    repeated: bool,
}

/// An attempt as the coordinator started it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) number: u32,
    pub(super) worker: Option<WorkerId>,
    pub(super) generation: u32,
    /// What it carries.
    pub(super) fault: Option<FaultPlan>,
    pub(super) time_ns: u64,
}

/// Spreads sequence numbers, which nobody chooses to collide, over all bits.
#[derive(Debug, Default)]
struct SequenceHasher(u64);

impl Hasher for SequenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; the table takes its bits from both ends.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

/// A task that was cancelled because the run was told to end.
#[derive(Debug)]
struct Cancelled {
    id: TaskId,
    task: Task,
    started: Option<Running>,
    report: Option<Box<AttemptReport>>,
    failure: Failure,
    received_ns: u64,
}

/// Turns events into what each attempt and task is known by. Memory is bounded by the tasks that
/// are open at one time, and by the tasks that are run again after they finished.
#[derive(Debug, Default)]
pub(super) struct State {
    run: Run,
    open: HashMap<TaskId, Task, BuildHasherDefault<SequenceHasher>>,
    /// Tasks that finish and later run again.
    again: HashMap<TaskId, Task>,
    pub(super) lines: u64,
    pub(super) tasks: u64,
    pub(super) unmatched: u64,
    pub(super) run_finished: bool,
    /// Whether the run was told to end.
    ending: bool,
    /// Tasks that were cancelled since then: their lines wait, as the run may go on with them.
    cancelled: Vec<Cancelled>,
    /// Whether the run was killed and went on, so that finished tasks may run again.
    resumed: bool,
}

impl State {
    /// Tasks submitted that have not had their last line.
    pub(super) fn unfinished(&self) -> u64 {
        let open = self.open.values().filter(|task| !task.repeated);
        (open.count() + self.cancelled.len()) as u64
    }

    /// Tasks of which an attempt is out, and those that wait for one.
    pub(super) fn out_and_waiting(&self) -> (u64, u64) {
        let out = self.open.values().filter(|task| task.running.is_some());
        let out = out.count() as u64;
        (out, self.open.len() as u64 - out)
    }

    /// Whether an event starts a finished task again whose submission is not known any more.
    pub(super) fn needs_submission_of(&self, event: &LogEvent) -> bool {
        match event {
            LogEvent::AttemptStarted { id, generation, .. } => {
                (*generation > 0 || self.resumed)
                    && !self.open.contains_key(&id.task)
                    && !self.again.contains_key(&id.task)
            }
            _ => false,
        }
    }

    /// Remembers a submission for when its task runs again.
    pub(super) fn remember(&mut self, event: LogEvent) {
        if let Some((id, task)) = submission(event) {
            self.again.entry(id).or_insert(task);
        }
    }

    /// Applies an event, and appends the lines that it completes.
    pub(super) fn apply(&mut self, event: LogEvent, out: &mut dyn Lines) {
        match event {
            LogEvent::RunStarted(started) => {
                self.run.wall.set(0, started.start_unix_ns);
                self.run.host = started.host;
            }
            LogEvent::WorkerJoined(info) => {
                let host = info.host;
                self.run
                    .workers
                    .insert(info.id, Worker { host, lost: None });
            }
            LogEvent::WorkerLost { worker, reason, .. } => {
                if let Some(worker) = self.run.workers.get_mut(&worker) {
                    worker.lost = Some(reason);
                }
            }
            LogEvent::Phase { name, .. } => self.run.phases.push(name),
            LogEvent::AttemptStarted {
                id,
                worker,
                generation,
                fault,
                time_ns,
            } => {
                let running = Running {
                    number: id.number,
                    worker,
                    generation,
                    fault,
                    time_ns,
                };
                self.started(id.task, running, out);
            }
            LogEvent::AttemptReturned { id, time_ns } => self.returned(id, time_ns, out),
            LogEvent::AttemptFinished {
                report,
                received_ns,
                retried,
            } => self.reported(&report, received_ns, retried, out),
            LogEvent::TaskFinished {
                task,
                failure,
                time_ns,
            } => self.ended(task, failure, time_ns, out),
            LogEvent::RunFinished { .. } => self.run_finished = true,
            LogEvent::Submitted { .. } => {
                if let Some((id, task)) = submission(event) {
                    self.open.insert(id, task);
                }
            }
            LogEvent::Resumed { time_ns, unix_ns } => self.resumed(time_ns, unix_ns, out),
            LogEvent::Memoized { task, time_ns, .. } => self.memoized(task, time_ns, out),
            LogEvent::Ending { .. } => self.ending = true,
            LogEvent::ReportRepeated { .. }
            | LogEvent::OutputsLost { .. }
            | LogEvent::Delivered { .. }
            | LogEvent::GuestOutput { .. }
            | LogEvent::GuestLog { .. } => {}
        }
    }

    /// Writes what is left when the log ends: tasks that ended, and whose attempt was still
    /// running and never reported, and those that were cancelled at the end.
    pub(super) fn finish(&mut self, out: &mut dyn Lines) {
        self.end_open(out);
        self.ending = false;
        for cancelled in std::mem::take(&mut self.cancelled) {
            self.cancelled_line(&cancelled, true, out);
        }
    }

    /// What is known of tasks that the log leaves open, in order of submission.
    pub(super) fn each_open(&self, each: &mut dyn FnMut(&Line<'_>)) {
        let mut open: Vec<_> = self.open.iter().collect();
        open.sort_unstable_by_key(|(id, _)| **id);
        for (&id, task) in open {
            each(&Line {
                run: &self.run,
                id,
                task,
                started: task.running,
                report: None,
                failure: None,
                received_ns: task
                    .running
                    .map_or(task.submitted_ns, |running| running.time_ns),
                last: false,
            });
        }
    }

    fn cancelled_line(&mut self, cancelled: &Cancelled, last: bool, out: &mut dyn Lines) {
        self.line(
            cancelled.id,
            &cancelled.task,
            cancelled.started,
            cancelled.report.as_deref(),
            Some(&cancelled.failure),
            cancelled.received_ns,
            last,
            out,
        );
    }

    fn end_open(&mut self, out: &mut dyn Lines) {
        let mut ended: Vec<TaskId> = self
            .open
            .iter()
            .filter(|(_, task)| task.ended.is_some())
            .map(|(id, _)| *id)
            .collect();
        ended.sort_unstable();
        for id in ended {
            if let Some(mut task) = self.open.remove(&id)
                && let Some((failure, time_ns)) = task.ended.take()
            {
                let started = task.running;
                self.line(id, &task, started, None, Some(&failure), time_ns, true, out);
            }
        }
    }

    /// The run was killed, and the attempts that were out with it.
    fn resumed(&mut self, time_ns: u64, unix_ns: u64, out: &mut dyn Lines) {
        self.run.wall.set(time_ns, unix_ns);
        (self.resumed, self.run_finished) = (true, false);
        // Tasks that ended while their attempt was out will hear no more of it.
        self.end_open(out);
        self.ending = false;
        for cancelled in std::mem::take(&mut self.cancelled) {
            // What ran has its line, and the task is open again.
            if cancelled.started.is_some() || cancelled.report.is_some() {
                self.cancelled_line(&cancelled, false, out);
            }
            self.open.insert(cancelled.id, cancelled.task);
        }
        let out_then = self.open.iter().filter(|(_, task)| task.running.is_some());
        let mut lost: Vec<TaskId> = out_then.map(|(id, _)| *id).collect();
        lost.sort_unstable();
        let failure = Failure::new(OutcomeKind::WorkerLost, "the run was killed");
        for id in lost {
            let Some(mut task) = self.open.remove(&id) else {
                continue;
            };
            // Whether its fault struck before, nobody knows.
            let started = task.running.take().map(|running| Running {
                fault: None,
                ..running
            });
            self.line(
                id,
                &task,
                started,
                None,
                Some(&failure),
                time_ns,
                false,
                out,
            );
            self.open.insert(id, task);
        }
    }

    /// A task has its outputs without having run.
    fn memoized(&mut self, id: TaskId, time_ns: u64, out: &mut dyn Lines) {
        match self.open.remove(&id) {
            Some(mut task) => {
                task.memoized = true;
                self.line(id, &task, None, None, None, time_ns, true, out);
            }
            None => self.unmatched += 1,
        }
    }

    fn started(&mut self, id: TaskId, running: Running, out: &mut dyn Lines) {
        if !self.open.contains_key(&id)
            && let Some(task) = self.again.get(&id)
        {
            let mut task = task.clone();
            task.repeated = true;
            self.open.insert(id, task);
        }
        let Some(task) = self.open.get_mut(&id) else {
            self.unmatched += 1;
            return;
        };
        if let Some(lost) = task.running.replace(running) {
            let task = task.clone();
            let failure = self.run.lost_attempt(lost);
            let time_ns = running.time_ns;
            self.line(
                id,
                &task,
                Some(lost),
                None,
                Some(&failure),
                time_ns,
                false,
                out,
            );
        }
    }

    /// Forgets that the attempt was started.
    fn returned(&mut self, id: AttemptId, time_ns: u64, out: &mut dyn Lines) {
        let Some(mut task) = self.open.remove(&id.task) else {
            self.unmatched += 1;
            return;
        };
        let returned = task.running.take_if(|running| running.number == id.number);
        task.returned += u32::from(returned.is_some());
        match task.ended.take_if(|_| returned.is_some()) {
            // It was cancelled while the attempt was out, and no report will come.
            Some((failure, _)) => {
                self.line(
                    id.task,
                    &task,
                    None,
                    None,
                    Some(&failure),
                    time_ns,
                    true,
                    out,
                );
            }
            None => {
                self.open.insert(id.task, task);
            }
        }
    }

    fn reported(
        &mut self,
        report: &AttemptReport,
        received_ns: u64,
        retried: bool,
        out: &mut dyn Lines,
    ) {
        let id = report.id.task;
        let Some(mut task) = self.open.remove(&id) else {
            self.unmatched += 1;
            return;
        };
        let started = task
            .running
            .take_if(|running| running.number == report.id.number);
        // A task that was cancelled while it ran stays so, whatever its attempt says.
        let ended = task.ended.take();
        let failure = match &ended {
            Some((failure, _)) => Some(failure),
            None => report.result.as_ref().err(),
        };
        let last = ended.is_some() || !retried;
        self.line(
            id,
            &task,
            started,
            Some(report),
            failure,
            received_ns,
            last,
            out,
        );
        if !last {
            self.open.insert(id, task);
        }
    }

    fn ended(&mut self, id: TaskId, failure: Option<Failure>, time_ns: u64, out: &mut dyn Lines) {
        // A task whose last report was not retried has had its line.
        let Some(mut task) = self.open.remove(&id) else {
            return;
        };
        if task.ended.is_some() {
            self.open.insert(id, task);
            return;
        }
        match failure {
            // The report of the attempt is still to come; a lost worker sends none.
            Some(failure)
                if task.running.is_some() && failure.outcome != OutcomeKind::WorkerLost =>
            {
                task.ended = Some((failure, time_ns));
                self.open.insert(id, task);
            }
            failure => {
                let started = task.running;
                self.line(
                    id,
                    &task,
                    started,
                    None,
                    failure.as_ref(),
                    time_ns,
                    true,
                    out,
                );
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a line")]
    fn line(
        &mut self,
        id: TaskId,
        task: &Task,
        started: Option<Running>,
        report: Option<&AttemptReport>,
        failure: Option<&Failure>,
        received_ns: u64,
        last: bool,
        out: &mut dyn Lines,
    ) {
        let last = last && !task.repeated;
        if let Some(failure) = failure
            && self.ending
            && last
            && failure.outcome == OutcomeKind::Cancelled
        {
            self.cancelled.push(Cancelled {
                id,
                task: Task {
                    running: None,
                    ..task.clone()
                },
                started,
                report: report.cloned().map(Box::new),
                failure: failure.clone(),
                received_ns,
            });
            return;
        }
        out.line(&Line {
            run: &self.run,
            id,
            task,
            started,
            report,
            failure,
            received_ns,
            last,
        });
        self.lines += 1;
        self.tasks += u64::from(last);
    }
}

fn submission(event: LogEvent) -> Option<(TaskId, Task)> {
    let LogEvent::Submitted {
        task: id,
        name,
        parents,
        label,
        phase,
        time_ns,
        ..
    } = event
    else {
        return None;
    };
    let task = Task {
        name,
        parents,
        label,
        submitted_ns: time_ns,
        phase,
        running: None,
        returned: 0,
        ended: None,
        memoized: false,
        repeated: false,
    };
    Some((id, task))
}
