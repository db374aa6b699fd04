//! What the coordinator's lock protects.

use crate::{
    plan::{Plan, Route},
    queues::Queues,
    replay::Replay,
    run_log::RunLog,
    travel::Travel,
};
use std::{collections::HashMap, sync::Arc, task::Waker};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Failure, FaultAction, Limits, OutputId, TaskId, Timeline,
    WorkerId,
    core::{Action, Core, Event, FailedTask, INJECTED_PARENT, TaskStatus},
};
use taps_payload::{FileRef, Location, SegmentId, SegmentStore, StoredRef};
use taps_records::LogEvent;
use taps_sandbox::{DriverStatus, QueueId};
use taps_schema::Kernels;

/// Failures kept for the summary.
const FAILURES_SHOWN: usize = 5;

/// The core, and what the driver waits for.
pub(crate) struct State {
    pub(crate) core: Core,
    pub(crate) queues: Queues,
    pub(crate) routes: HashMap<Arc<str>, Route>,
    pub(crate) limits: Limits,
    pub(crate) kernels: Kernels,
    pub(crate) media_type: Arc<str>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) store: SegmentStore,
    /// What the driver waits for, and who wants to know.
    wait: Option<(Wait, Waker)>,
    /// The time of the latest change.
    now_ns: u64,
    /// The driver's clock.
    pub(crate) delivered_ns: u64,
    /// Phases begun: name and time.
    pub(crate) phases: Vec<(String, u64)>,
    /// The run is ending: nothing more is submitted.
    pub(crate) ending: bool,
    pub(crate) executor_failure: Option<Failure>,
    pub(crate) failures: Vec<(String, u64, Failure)>,
    /// How payloads travelled.
    pub(crate) travel: Travel,
    /// What a resumed driver is shown.
    pub(crate) replay: Replay,
    /// Tasks that were given the results of an earlier run.
    pub(crate) memoized: u64,
    /// When an attempt last ended.
    pub(crate) ended_ns: u64,
    /// An output that the driver wants to read, and that has to be made again.
    pub(crate) wanted: Option<OutputId>,
    /// Reports that will come again.
    pub(crate) duplicates: Vec<AttemptReport>,
    actions: Vec<Action>,
}

/// What a driver can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Room for another submission.
    Capacity,
    /// The end of a task.
    Task(TaskId),
    /// A completion, or a time.
    Queue(QueueId, Option<u64>),
    /// A time.
    Sleep(u64),
}

/// What to tell the executor, after the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) dispatch: Vec<(Option<WorkerId>, Attempt)>,
    pub(crate) cancel: Vec<AttemptId>,
    /// Attempts wanted back.
    pub(crate) recall: Vec<AttemptId>,
    /// Segments that the run has dropped.
    pub(crate) freed: Vec<SegmentId>,
    /// Payloads of a transformer that nobody can read any more.
    pub(crate) remove: Vec<Arc<StoredRef>>,
    /// Keys of results that the engine keeps and nobody can read any more.
    pub(crate) release: Vec<Arc<str>>,
    /// Files that nobody can read any more; those of the user are not the run's to remove.
    pub(crate) files: Vec<FileRef>,
}

impl State {
    pub(crate) fn new(plan: &mut Plan) -> Self {
        let mut core = Core::new(plan.settings, plan.seed, plan.executor.capabilities());
        core.promise(&plan.executor.promised());
        if let Some(faults) = &plan.faults {
            let parent = plan.routes.0.get(INJECTED_PARENT);
            core.inject(
                faults.clone(),
                parent.map(|route| (route.component, route.task)),
            );
        }
        let replay = Replay::begin(plan.history.take(), &mut core);
        Self {
            core,
            queues: Queues::default(),
            routes: plan.routes.0.clone(),
            limits: plan.limits,
            kernels: plan.kernels,
            media_type: Arc::from("application/octet-stream"),
            log: Arc::clone(&plan.log),
            store: plan.context.store.clone(),
            wait: None,
            now_ns: 0,
            delivered_ns: 0,
            phases: Vec::new(),
            ending: false,
            executor_failure: None,
            failures: Vec::new(),
            travel: Travel::default(),
            replay,
            memoized: 0,
            ended_ns: 0,
            wanted: None,
            duplicates: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// The time of a change: what the clock said, unless a change has had a later time.
    pub(crate) fn advance(&mut self, read_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(read_ns);
        self.now_ns
    }

    /// Applies an event to the core and carries out what follows.
    pub(crate) fn apply(&mut self, now_ns: u64, event: Event, orders: &mut Orders) {
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(now_ns, event, &mut actions);
        self.carry_out(now_ns, &mut actions, None, orders);
        self.actions = actions;
    }

    /// Applies the report of an attempt. It is in the log before anybody can see its effect.
    pub(crate) fn finished(
        &mut self,
        now_ns: u64,
        report: Box<AttemptReport>,
        orders: &mut Orders,
    ) {
        let mut actions = std::mem::take(&mut self.actions);
        let id = report.id;
        self.ended_ns = now_ns;
        let fault = report.injected.map(|fault| fault.action);
        if !self.core.is_out(id) {
            self.log.append(&LogEvent::ReportRepeated {
                id,
                time_ns: now_ns,
            });
            self.core
                .handle(now_ns, Event::Finished(report), &mut actions);
        } else if report.result.is_ok() {
            self.travel.add(&report);
            let report = self.log_report(report, now_ns, false);
            if fault == Some(FaultAction::LateDuplicate) {
                self.duplicates.push((*report).clone());
            }
            self.core
                .handle(now_ns, Event::Finished(report), &mut actions);
            if fault == Some(FaultAction::LostResult) {
                self.lose_results(now_ns, id.task, &mut actions, orders);
            }
        } else {
            self.travel.add(&report);
            // Whether another attempt follows is the core's decision.
            self.core
                .handle(now_ns, Event::Finished(report.clone()), &mut actions);
            let retried = is_retried(&actions, id);
            self.log_report(report, now_ns, retried);
        }
        self.carry_out(now_ns, &mut actions, Some(id.task), orders);
        self.actions = actions;
    }

    /// The results of a task are gone for good.
    fn lose_results(
        &mut self,
        now_ns: u64,
        task: TaskId,
        actions: &mut Vec<Action>,
        orders: &mut Orders,
    ) {
        let outputs = (0..).map(|index| OutputId { task, index });
        let lost: Vec<OutputId> = outputs
            .take_while(|&output| self.core.output(output).is_some())
            .collect();
        for &output in &lost {
            self.destroy(output, orders);
        }
        self.core.handle(now_ns, Event::OutputsLost(lost), actions);
    }

    /// Gives up what is left of the bytes of an output that the core will be told is lost.
    pub(crate) fn destroy(&self, output: OutputId, orders: &mut Orders) {
        match self.core.output(output).map(|there| &there.location) {
            Some(Location::Segment(segment)) => {
                self.store.free(segment.id);
                orders.freed.push(segment.id);
            }
            Some(Location::Stored(stored)) => orders.remove.push(Arc::clone(stored)),
            Some(Location::File(file)) => orders.files.push(file.clone()),
            Some(Location::Engine { key, .. }) => orders.release.push(Arc::clone(key)),
            Some(Location::Inline(_)) | None => {}
        }
    }

    /// Whether the bytes of an output are not those that its task gave.
    pub(crate) fn is_damaged(&self, output: OutputId, location: &Location) -> bool {
        let Some(expected) = self.core.digest(output) else {
            return false;
        };
        let found = taps_sandbox::verify::digest_at(&self.store, location);
        matches!(found, Ok(Some(found)) if found != expected)
    }

    /// Reports that were kept to come again do so now, or in the end.
    pub(crate) fn repeat_reports(&mut self, now_ns: u64, orders: &mut Orders) {
        for report in std::mem::take(&mut self.duplicates) {
            self.finished(now_ns, Box::new(report), orders);
        }
    }

    fn log_report(
        &self,
        report: Box<AttemptReport>,
        received_ns: u64,
        retried: bool,
    ) -> Box<AttemptReport> {
        let event = LogEvent::AttemptFinished {
            report,
            received_ns,
            retried,
        };
        self.log.append(&event);
        match event {
            LogEvent::AttemptFinished { report, .. } => report,
            _ => unreachable!("made just above"),
        }
    }

    /// Carries out the core's actions. `reported` is the task whose report is in the log already.
    pub(crate) fn carry_out(
        &mut self,
        now_ns: u64,
        actions: &mut Vec<Action>,
        reported: Option<TaskId>,
        orders: &mut Orders,
    ) {
        let fates = Fates::of(actions);
        for action in actions.drain(..) {
            match action {
                Action::Dispatch { worker, attempt } => {
                    self.log.append(&LogEvent::AttemptStarted {
                        id: attempt.id,
                        worker,
                        generation: attempt.generation.0,
                        fault: attempt.fault,
                        time_ns: now_ns,
                    });
                    orders.dispatch.push((worker, attempt));
                }
                Action::CancelAttempt(id) => orders.cancel.push(id),
                Action::Recall(id) => orders.recall.push(id),
                Action::AttemptReturned { attempt: id } => {
                    self.log.append(&LogEvent::AttemptReturned {
                        id,
                        time_ns: now_ns,
                    });
                }
                Action::AttemptLost {
                    attempt,
                    worker,
                    failure,
                } => {
                    let verdict = fates.verdict_on(attempt.task, &failure).unwrap_or(failure);
                    let report = lost_report(attempt, worker, verdict, now_ns);
                    self.log_report(report, now_ns, fates.retried.contains(&attempt));
                }
                Action::Completed { task, failed } => {
                    self.completed(task, failed.as_deref(), now_ns, reported == Some(task));
                }
                Action::Free {
                    location: Location::Segment(segment),
                } => {
                    self.store.free(segment.id);
                    orders.freed.push(segment.id);
                }
                Action::Free {
                    location: Location::Stored(stored),
                } => orders.remove.push(stored),
                Action::Free {
                    location: Location::File(file),
                } => orders.files.push(file),
                Action::Free {
                    location: Location::Engine { key, .. },
                } => orders.release.push(key),
                Action::OutputsLost { outputs } => {
                    self.log.append(&LogEvent::OutputsLost {
                        outputs,
                        time_ns: now_ns,
                    });
                }
                // It was put into a queue while it ran again.
                Action::Recomputed { task } => {
                    let status = self.status(task);
                    self.queues.completed(task, status);
                }
                // Said by whoever submitted the child.
                Action::ParentInjected { .. } | Action::Free { .. } | Action::Retrying { .. } => {}
            }
        }
        self.wake_if_satisfied();
    }

    fn completed(
        &mut self,
        task: TaskId,
        failed: Option<&FailedTask>,
        now_ns: u64,
        reported: bool,
    ) {
        let status = match failed {
            Some(_) => DriverStatus::Failed,
            None => DriverStatus::Succeeded,
        };
        if let Some(failed) = failed
            && self.failures.len() < FAILURES_SHOWN
        {
            let failure = (*failed.failure).clone();
            self.failures
                .push((failed.name.to_string(), task.0, failure));
        }
        if !reported && !self.replay.knows_end_of(task) {
            self.log.append(&LogEvent::TaskFinished {
                task,
                failure: failed.map(|failed| (*failed.failure).clone()),
                time_ns: now_ns,
            });
        }
        self.queues.completed(task, status);
    }

    /// Where a task stands, for the driver: one that has ended stays so, although it may run again.
    pub(crate) fn status(&self, task: TaskId) -> DriverStatus {
        match self.core.status(task) {
            Some(TaskStatus::Succeeded { .. }) => DriverStatus::Succeeded,
            Some(TaskStatus::Failed(_)) => DriverStatus::Failed,
            Some(TaskStatus::Pending) if self.core.has_ended(task) => DriverStatus::Succeeded,
            Some(TaskStatus::Pending) | None => DriverStatus::Pending,
        }
    }

    /// Notes what the driver waits for.
    pub(crate) fn wait_for(&mut self, wait: Wait, waker: &Waker) {
        self.wait = Some((wait, waker.clone()));
    }

    /// When the wait ends by itself.
    pub(crate) fn wait_until_ns(&self) -> Option<u64> {
        match self.wait.as_ref()?.0 {
            Wait::Queue(_, until) => until,
            Wait::Sleep(until) => Some(until),
            Wait::Capacity | Wait::Task(_) => None,
        }
    }

    /// Wakes the driver when the time that it waits for has come.
    pub(crate) fn time_passed(&mut self, now_ns: u64) {
        if self.wait_until_ns().is_some_and(|until| until <= now_ns)
            && let Some((_, waker)) = self.wait.take()
        {
            waker.wake();
        }
    }

    fn wake_if_satisfied(&mut self) {
        let satisfied = match self.wait.as_ref() {
            None | Some((Wait::Sleep(_), _)) => false,
            Some((Wait::Capacity, _)) => self.ending || self.core.can_submit(),
            // Of one that runs again the result is awaited.
            Some((Wait::Task(task), _)) => {
                !matches!(self.core.status(*task), Some(TaskStatus::Pending) | None)
            }
            Some((Wait::Queue(queue, _), _)) => self.queues.would_end(*queue),
        };
        if satisfied && let Some((_, waker)) = self.wait.take() {
            waker.wake();
        }
    }
}

fn is_retried(actions: &[Action], id: AttemptId) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Retrying { failed, .. } if *failed == id))
}

/// What follows for attempts that are lost with these actions. Empty where none is, as nearly always.
#[derive(Default)]
struct Fates {
    /// Attempts that are followed by another.
    retried: Vec<AttemptId>,
    /// Why tasks fail.
    verdicts: Vec<(TaskId, Arc<Failure>)>,
}

impl Fates {
    fn of(actions: &[Action]) -> Self {
        let mut fates = Self::default();
        let is_loss = |action: &Action| matches!(action, Action::AttemptLost { .. });
        if !actions.iter().any(is_loss) {
            return fates;
        }
        for action in actions {
            match action {
                Action::Retrying { failed, .. } => fates.retried.push(*failed),
                Action::Completed {
                    task,
                    failed: Some(failed),
                } => fates.verdicts.push((*task, Arc::clone(&failed.failure))),
                _ => {}
            }
        }
        fates
    }

    /// Why a task was given up, which says more than how its last worker ended.
    fn verdict_on(&self, task: TaskId, last: &Failure) -> Option<Failure> {
        let mut verdicts = self.verdicts.iter();
        let (_, verdict) =
            verdicts.find(|(of, verdict)| *of == task && verdict.outcome == last.outcome)?;
        Some((**verdict).clone())
    }
}

/// The record of an attempt that ended without a report.
fn lost_report(
    id: AttemptId,
    worker: Option<WorkerId>,
    failure: Failure,
    now_ns: u64,
) -> Box<AttemptReport> {
    Box::new(AttemptReport {
        timeline: Timeline {
            finished: now_ns,
            ..Timeline::default()
        },
        ..AttemptReport::bare(id, worker.unwrap_or(WorkerId(u32::MAX)), Err(failure))
    })
}
