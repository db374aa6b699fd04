//! A core with a hand on every event; checks itself after each.

use std::sync::Arc;
use taps_engine::core::{
    Action, ArgumentSpec, Core, Event, Settings, SubmitError, TaskOptions, TaskSpec, TaskState,
};
use taps_engine::{
    Argument, Attempt, AttemptId, AttemptReport, Capabilities, Failure, Instantiation, Limits,
    OutcomeKind, Output, OutputId, Running, TaskId, WorkerId, WorkerInfo,
};
use taps_payload::{Location, SegmentId, SegmentRef};
use taps_schema::Kernels;

pub(crate) const POOL: Capabilities = Capabilities {
    places: true,
    keeps_results: false,
    cancels_running: true,
    kills_workers: false,
    sees_host_paths: true,
    reports_worker_loss: true,
};

pub(crate) const ENGINE: Capabilities = Capabilities {
    places: false,
    keeps_results: true,
    ..POOL
};

pub(crate) struct Bench {
    pub(crate) core: Core,
    pub(crate) now_ns: u64,
    /// Actions not looked at yet.
    pub(crate) actions: Vec<Action>,
}

impl Bench {
    pub(crate) fn new(settings: Settings, capabilities: Capabilities) -> Self {
        Self {
            core: Core::new(settings, 7, capabilities),
            now_ns: 0,
            actions: Vec::new(),
        }
    }

    /// A pool of that many workers with one core each, on one host.
    pub(crate) fn pool(workers: u32) -> Self {
        Self::pool_with(workers, Settings::default())
    }

    pub(crate) fn pool_with(workers: u32, settings: Settings) -> Self {
        let mut bench = Self::new(settings, POOL);
        for id in 0..workers {
            bench.handle(Event::WorkerJoined(worker(id, "here", 1)));
        }
        bench
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.core.handle(self.now_ns, event, &mut self.actions);
        self.core.sanity_check();
    }

    pub(crate) fn try_submit(&mut self, spec: TaskSpec) -> Result<TaskId, SubmitError> {
        let result = self.core.submit(self.now_ns, spec, &mut self.actions);
        self.core.sanity_check();
        result
    }

    pub(crate) fn submit(&mut self, spec: TaskSpec) -> TaskId {
        self.try_submit(spec).unwrap()
    }

    /// Takes the actions since the last look.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes the actions, which must be one dispatch.
    pub(crate) fn dispatched(&mut self) -> Attempt {
        let mut all = self.all_dispatched();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0).1
    }

    /// Takes the actions, without why tasks failed.
    pub(crate) fn take_plain(&mut self) -> Vec<Action> {
        let mut actions = self.take();
        for action in &mut actions {
            if let Action::Completed { failed, .. } = action {
                *failed = None;
            }
        }
        actions
    }

    /// Takes the actions and gives the dispatches among them.
    pub(crate) fn all_dispatched(&mut self) -> Vec<(Option<WorkerId>, Attempt)> {
        let dispatches = self.take().into_iter().filter_map(|action| match action {
            Action::Dispatch { worker, attempt } => Some((worker, attempt)),
            _ => None,
        });
        dispatches.collect()
    }

    /// Tasks dispatched, in order; takes the actions.
    pub(crate) fn started(&mut self) -> Vec<u64> {
        let all = self.all_dispatched().into_iter();
        all.map(|(_, attempt)| attempt.id.task.0).collect()
    }

    /// Tasks completed, in order; takes the actions.
    pub(crate) fn completed(&mut self) -> Vec<u64> {
        let completed = self.take().into_iter().filter_map(|action| match action {
            Action::Completed { task, .. } => Some(task.0),
            _ => None,
        });
        completed.collect()
    }

    /// Segments freed, in order; takes the actions.
    pub(crate) fn freed(&mut self) -> Vec<u64> {
        let freed = self.take().into_iter().filter_map(|action| match action {
            Action::Free {
                location: Location::Segment(segment),
            } => Some(segment.id.0),
            _ => None,
        });
        freed.collect()
    }

    /// The attempt gives these segments as outputs.
    pub(crate) fn finish(&mut self, id: AttemptId, segments: &[u64]) {
        let outputs = segments.iter().map(|&id| Output {
            location: segment(id),
        });
        self.report(id, Ok(outputs.collect()));
    }

    pub(crate) fn fail(&mut self, id: AttemptId, outcome: OutcomeKind) {
        self.report(id, Err(Failure::new(outcome, "broken")));
    }

    pub(crate) fn report(&mut self, id: AttemptId, result: Result<Vec<Output>, Failure>) {
        let report = AttemptReport {
            result,
            ..report(id)
        };
        self.handle(Event::Finished(Box::new(report)));
    }

    pub(crate) fn lose_worker(&mut self, id: u32) {
        self.handle(Event::WorkerLost {
            worker: WorkerId(id),
            reason: "killed".to_owned(),
            running: Running::Unknown,
        });
    }

    pub(crate) fn state(&self, task: TaskId) -> TaskState {
        self.core.state(task).unwrap()
    }

    pub(crate) fn failure(&self, task: TaskId) -> &Failure {
        self.core.status(task).unwrap().failure().unwrap()
    }
}

pub(crate) fn attempt(task: TaskId, number: u32) -> AttemptId {
    AttemptId { task, number }
}

pub(crate) fn worker(id: u32, host: &str, cores: u32) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId(id),
        host: host.to_owned(),
        cores,
        memory_bytes: 1000,
        resources: Vec::new(),
        look_ahead: 0,
    }
}

pub(crate) fn segment(id: u64) -> Location {
    Location::Segment(SegmentRef {
        id: SegmentId(id),
        len: 1,
    })
}

pub(crate) fn payload(location: Location) -> Argument {
    Argument {
        location,
        media_type: "raw".into(),
    }
}

pub(crate) fn output(task: TaskId, index: u32) -> OutputId {
    OutputId { task, index }
}

/// A task without arguments.
pub(crate) fn task() -> TaskSpec {
    TaskSpec {
        name: Arc::from("task"),
        component: 0,
        task: 0,
        arguments: Vec::new(),
        options: TaskOptions::default(),
        limits: Limits::default(),
        kernels: Kernels::Host,
        outputs: 0,
        media_type: "raw".into(),
        done: None,
    }
}

/// A task that takes the first output of each parent.
pub(crate) fn child(parents: &[TaskId]) -> TaskSpec {
    let arguments = parents.iter().map(|&p| ArgumentSpec::Output(output(p, 0)));
    TaskSpec {
        arguments: arguments.collect(),
        ..task()
    }
}

/// The report of an attempt that gave no outputs.
pub(crate) fn report(id: AttemptId) -> AttemptReport {
    AttemptReport {
        instantiation: Instantiation::Fresh,
        ..AttemptReport::bare(id, WorkerId(0), Ok(Vec::new()))
    }
}
