//! The scheduler.
//!
//! [`Core`] is a state machine: [`Core::submit`] and [`Core::handle`] take what happened and append
//! to a list what has to be done. It does no I/O, reads no clock (times come with the events),
//! starts no threads and takes no locks. Whoever holds it drives it: a finishing worker applies its
//! own event, and finds its next attempt among the actions.
//!
//! | module | concern |
//! |---|---|
//! | `table` | the tasks in memory |
//! | `submit` | taking tasks and payloads from the driver |
//! | `lifecycle` | states, upstream failure, cancelling |
//! | `ready`, `placement`, `dispatch` | which task goes next, and where |
//! | `look_ahead`, `recall` | attempts queued on busy workers, and asked back |
//! | `past` | tasks that ended in an earlier life of the run |
//! | `faults` | which attempts carry a fault |
//! | `retry` | failed attempts, back-off, lost workers |
//! | `recovery` | outputs lost after their task had finished |
//! | `references` | who needs what; freeing |
//! | `sanity` | the invariants, checked |
//!
//! Cost: amortised constant per task and edge, but for the heap of the ready queue. Losing outputs
//! walks over the tasks in memory once for each event. Nothing recurses over the graph.

mod action;
mod dispatch;
mod faults;
mod lifecycle;
mod look_ahead;
mod past;
mod placement;
mod ready;
mod recall;
mod recovery;
mod references;
mod retry;
mod sanity;
mod seed;
mod settings;
mod spec;
mod submit;
mod table;

pub use action::{Action, Counts, Event, FailedTask, OpenTask, TaskState, TaskStatus};
pub use dispatch::{forward_key, parse_forward_key};
pub use faults::{FaultSettings, INJECTED_PARENT};
pub use past::{Past, PastEnd};
pub(crate) use seed::splitmix64;
pub use seed::task_seed;
pub use settings::{OutcomeSet, OwnRetries, RetryPolicy, Settings};
pub use spec::{ArgumentSpec, PayloadKey, SubmitError, TaskOptions, TaskSpec};

use crate::{
    AttemptId, AttemptReport, Capabilities, Failure, Output, OutputId, Running, TaskId, WorkerInfo,
};
use dispatch::Overtaken;
use faults::Faults;
use placement::Placement;
use ready::Ready;
use recall::Recalls;
use references::Held;
use rustc_hash::FxHashMap;
use seed::Seeds;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use table::{Key, Table};
use taps_payload::Location;

/// Outputs that may be referred to of a task that does not declare their number.
pub const MAX_UNDECLARED_OUTPUTS: u32 = 4096;

/// The scheduler of a run: takes events, returns actions, does nothing else.
pub struct Core {
    settings: Settings,
    capabilities: Capabilities,
    /// An engine takes tasks before their parents are finished.
    forwards: bool,
    seeds: Seeds,
    tasks: Table,
    ready: Ready,
    overtaken: Overtaken,
    placement: Placement,
    recalls: Recalls,
    /// When back-offs end; entries may be outdated, the first one is not.
    timers: BinaryHeap<Reverse<(u64, TaskId, Key)>>,
    held: FxHashMap<PayloadKey, Held>,
    next_payload: u64,
    /// What is to go wrong on purpose.
    faults: Option<Faults>,
    /// Digests of outputs are known.
    verifies: bool,
    /// What is known of tasks that will be submitted.
    past: HashMap<TaskId, Past>,
    /// Why nothing runs any more.
    failed: Option<Failure>,
    /// Latest time that a caller gave.
    now_ns: u64,
    /// Counts retries and losses, to tell what an attempt cannot have known.
    epoch: u64,
    counts: Counts,
    /// Tasks in the table by state.
    in_state: [u64; TaskState::COUNT],
    /// What freed inline outputs share.
    empty: Arc<[u8]>,
    /// Tasks that may be needed no more; empty between events, like the next two.
    candidates: Vec<Key>,
    /// Finished tasks whose lost outputs may be needed.
    reruns: Vec<Key>,
    /// Waiting tasks whose parents an engine may hold.
    forwardable: VecDeque<Key>,
}

impl Core {
    /// An empty core without workers.
    pub fn new(settings: Settings, run_seed: u64, capabilities: Capabilities) -> Self {
        Self {
            settings,
            capabilities,
            forwards: !capabilities.places && capabilities.keeps_results,
            seeds: Seeds::new(run_seed),
            tasks: Table::default(),
            ready: Ready::new(),
            overtaken: Overtaken::default(),
            placement: Placement::default(),
            recalls: Recalls::default(),
            timers: BinaryHeap::new(),
            held: FxHashMap::default(),
            next_payload: 0,
            faults: None,
            verifies: false,
            past: HashMap::new(),
            failed: None,
            now_ns: 0,
            epoch: 0,
            counts: Counts::default(),
            in_state: [0; TaskState::COUNT],
            empty: Arc::from([]),
            candidates: Vec::new(),
            reruns: Vec::new(),
            forwardable: VecDeque::new(),
        }
    }

    /// Makes things go wrong from now on. `parent` says where the task is, component and index, that is
    /// put before others to fail: without it [`FaultAction::Dependency`](crate::FaultAction::Dependency)
    /// hits the tasks themselves.
    pub fn inject(&mut self, faults: FaultSettings, parent: Option<(u32, u32)>) {
        self.faults = Some(Faults::new(faults, parent));
    }

    /// What an earlier life of the run knows of its tasks: those that ended then are not run again,
    /// unless an output of theirs is lost and needed.
    pub fn remember(&mut self, past: HashMap<TaskId, Past>) {
        self.past = past;
    }

    /// Tells which workers will join, so that a demand is judged by what will be there.
    pub fn promise(&mut self, workers: &[WorkerInfo]) {
        for worker in workers {
            self.placement.promise(worker);
        }
    }

    /// Applies an event and appends what has to be done, in this order. Never panics for what an
    /// executor or a driver says: what does not fit is absorbed and counted.
    pub fn handle(&mut self, now_ns: u64, event: Event, actions: &mut Vec<Action>) {
        self.now_ns = self.now_ns.max(now_ns);
        match event {
            Event::Finished(report) => {
                // Only what is needed leaves the box.
                let AttemptReport {
                    id,
                    result,
                    timeline,
                    lost_inputs,
                    digests,
                    ..
                } = *report;
                self.note_digests(id, digests);
                self.finished(id, result, timeline, &lost_inputs, actions);
            }
            Event::Returned(attempt) => self.returned(attempt, actions),
            Event::Release(task) => self.release(task, actions),
            Event::PayloadAcquired(output) => self.acquire(output),
            Event::PayloadReleased(output) => self.release_handle(output, actions),
            Event::HeldReleased(key) => self.release_held(key, actions),
            Event::Tick => self.tick(actions),
            Event::WorkerJoined(info) => self.worker_joined(info, actions),
            Event::WorkerLost {
                worker,
                reason,
                running,
            } => self.worker_lost(worker, &reason, running, actions),
            Event::Cancel(task) => match self.tasks.find(task) {
                Some(key) => self.cancel(key, actions),
                None => self.counts.absorbed += 1,
            },
            Event::CancelAll => {
                for (_, key) in self.tasks.select(|task| !task.state.is_terminal()) {
                    self.cancel(key, actions);
                }
            }
            Event::OutputsLost(outputs) => self.outputs_lost(&outputs, actions),
            Event::ExecutorFailed(failure) => self.executor_failed(&failure, actions),
        }
        self.pump(actions);
    }

    fn worker_joined(&mut self, info: WorkerInfo, actions: &mut Vec<Action>) {
        if self.placement.contains(info.id) {
            self.worker_lost(info.id, "it joined again", Running::Unknown, actions);
        }
        self.placement.join(info);
    }

    /// Where a task stands; `None` when nobody holds it any more.
    pub fn status(&self, task: TaskId) -> Option<TaskStatus<'_>> {
        let task = self.tasks.by_id(task)?;
        Some(match (&task.failure, task.state) {
            (_, TaskState::Succeeded) => TaskStatus::Succeeded {
                outputs: &task.outputs,
                generation: task.generation,
            },
            (Some(failure), TaskState::Failed | TaskState::Cancelled) => {
                TaskStatus::Failed(failure)
            }
            _ => TaskStatus::Pending,
        })
    }

    /// Whether the task has ended, be it that it runs again because a result of it was lost.
    pub fn has_ended(&self, task: TaskId) -> bool {
        self.tasks.by_id(task).is_some_and(|task| task.announced)
    }

    /// Whether finished tasks can run again when an output of theirs is lost.
    pub fn keeps_lineage(&self) -> bool {
        self.settings.lineage
    }

    /// The seed that the next task of that name will have.
    pub fn next_seed(&self, name: &str) -> u64 {
        self.seeds.peek(name)
    }

    /// The name of a task; `None` when nobody holds it any more.
    pub fn name(&self, task: TaskId) -> Option<&Arc<str>> {
        self.tasks.by_id(task).map(|task| &task.name)
    }

    /// The state of a task; `None` when nobody holds it any more.
    pub fn state(&self, task: TaskId) -> Option<TaskState> {
        self.tasks.by_id(task).map(|task| task.state)
    }

    /// An output whose bytes are there; `None` when they are not yet, or given up, or lost.
    pub fn output(&self, output: OutputId) -> Option<&Output> {
        self.tasks.by_id(output.task)?.available(output.index)
    }

    /// The bytes of an output that is there are now elsewhere: attempts dispatched from here on read them
    /// there. Says whether the output was there; otherwise nothing refers to the new place.
    pub fn relocate(&mut self, output: OutputId, location: Location) -> bool {
        let Some(key) = self.tasks.find(output.task) else {
            return false;
        };
        let task = &mut self.tasks[key];
        if task.available(output.index).is_none() {
            return false;
        }
        task.outputs[output.index as usize].location = location;
        true
    }

    /// What the bytes of an output should be, where it is known.
    pub fn digest(&self, output: OutputId) -> Option<u64> {
        let task = self.tasks.by_id(output.task)?;
        *task.digests.get(output.index as usize)?
    }

    /// Whether the attempt is out and its report awaited; other reports are absorbed.
    pub fn is_out(&self, attempt: AttemptId) -> bool {
        let task = self.tasks.by_id(attempt.task);
        task.and_then(table::Task::attempt) == Some(attempt)
    }

    /// When [`Event::Tick`] is due next, on the clock of the events.
    pub fn next_timer_ns(&self) -> Option<u64> {
        let backoff = self.timers.peek().map(|Reverse((until_ns, ..))| *until_ns);
        backoff.into_iter().chain(self.recalls.due_ns()).min()
    }

    /// The first tasks that are not terminal, in order of submission.
    pub fn open_tasks(&self, most: usize) -> Vec<OpenTask> {
        let open = self.tasks.select(|task| !task.state.is_terminal());
        let open = open.into_iter().take(most).map(|(id, key)| {
            let task = &self.tasks[key];
            let waits_for = task
                .arguments
                .iter()
                .filter_map(|argument| match *argument {
                    table::TaskArgument::Output {
                        parent,
                        unresolved: true,
                        ..
                    } => Some(self.tasks[parent].id),
                    _ => None,
                });
            OpenTask {
                id,
                name: Arc::clone(&task.name),
                state: task.state,
                since_ns: task.since_ns,
                attempt: task.attempt(),
                worker: task.out.and_then(|out| out.worker),
                waits_for: waits_for.collect(),
            }
        });
        open.collect()
    }

    /// How many tasks are where, and what happened so far.
    pub fn counts(&self) -> Counts {
        let in_state = |state: TaskState| self.in_state[state as usize];
        Counts {
            waiting: in_state(TaskState::Waiting),
            backing_off: in_state(TaskState::BackOff),
            ready: in_state(TaskState::Ready),
            running: in_state(TaskState::Running),
            forwarded: in_state(TaskState::Forwarded),
            tasks_held: self.tasks.len() as u64,
            workers: self.placement.len() as u64,
            ..self.counts
        }
    }
}
