//! What goes into the core and what comes out.

use super::spec::PayloadKey;
use crate::{
    Attempt, AttemptId, AttemptReport, Failure, Generation, Output, OutputId, Running, TaskId,
    WorkerId, WorkerInfo,
};
use std::sync::Arc;
use taps_payload::Location;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker is ready. Joining again under the same number replaces a lost one.
    WorkerJoined(WorkerInfo),
    /// A worker is gone, with everything that was on it.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
        /// What it was running: charged with the loss. The worker's other attempts go again,
        /// uncounted.
        running: Running,
    },
    /// An attempt ended.
    Finished(Box<AttemptReport>),
    /// An attempt was given back: it never started and never will. Its task is queued again at its
    /// old rank; it counts neither as a retry nor as a crash.
    Returned(AttemptId),
    /// Time passed: see [`Core::next_timer_ns`](super::Core::next_timer_ns).
    Tick,
    /// The driver or the user cancels a task, and with it its descendants.
    Cancel(TaskId),
    /// The run is interrupted: every task that is not terminal is cancelled.
    CancelAll,
    /// The driver dropped its future of the task.
    Release(TaskId),
    /// The driver took a payload handle on an output: its bytes live until
    /// [`Event::PayloadReleased`], once for each time.
    PayloadAcquired(OutputId),
    /// The driver dropped a payload handle on an output.
    PayloadReleased(OutputId),
    /// The driver dropped its handle on a payload that it made.
    HeldReleased(PayloadKey),
    /// The bytes of these outputs are gone from where they were. Lost together, told together:
    /// one event costs one walk over the outstanding tasks.
    OutputsLost(Vec<OutputId>),
    /// The executor cannot go on; outstanding attempts will not end.
    ExecutorFailed(Failure),
}

/// What the caller has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Hand the attempt to the executor.
    Dispatch {
        /// The worker chosen; `None` where the engine places.
        worker: Option<WorkerId>,
        /// The attempt.
        attempt: Attempt,
    },
    /// Ask the executor to end the attempt early. Its report is still awaited.
    CancelAttempt(AttemptId),
    /// Ask the executor to give the attempt back if it has not started: it waits behind another,
    /// and a worker is idle. Answered by [`Event::Returned`] or by its report, once for each time.
    Recall(AttemptId),
    /// The attempt never ran, as far as anybody will know, and its task goes again (or ends, if it
    /// was cancelled): the executor gave it back, or it was queued on a worker that was lost. As if
    /// it had not been dispatched, but for its number, which is not used again.
    AttemptReturned {
        /// Which.
        attempt: AttemptId,
    },
    /// The attempt ended without a report: its worker is gone or the executor failed.
    /// A report that comes all the same is absorbed.
    AttemptLost {
        /// Which.
        attempt: AttemptId,
        /// The worker that it was on, where the core placed it.
        worker: Option<WorkerId>,
        /// Why.
        failure: Failure,
    },
    /// A failed attempt will be followed by another.
    Retrying {
        /// The attempt that failed.
        failed: AttemptId,
        /// Wait before the task is ready again, in milliseconds.
        backoff_ms: u64,
    },
    /// The task is terminal; exactly once for each task.
    Completed {
        /// Which.
        task: TaskId,
        /// Why it has no outputs. Told here, because a task that nobody holds is forgotten.
        failed: Option<Arc<FailedTask>>,
    },
    /// A task was put before another, as a parent of it that is made to fail. It counts as a submission.
    ParentInjected {
        /// The task that was put in.
        parent: TaskId,
        /// Before which.
        child: TaskId,
    },
    /// Bytes that were there are gone. Those that are needed are made again.
    OutputsLost {
        /// Whose.
        outputs: Vec<OutputId>,
    },
    /// A task that had completed ran again because an output was lost, and is terminal again:
    /// [`Core::status`](super::Core::status) may have changed.
    Recomputed {
        /// Which.
        task: TaskId,
    },
    /// Nobody can read these bytes any more: a segment, or a result that an engine keeps.
    Free {
        /// Where they are.
        location: Location,
    },
}

/// A task that ended without outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedTask {
    /// Its name.
    pub name: Arc<str>,
    /// Why.
    pub failure: Arc<Failure>,
}

// One or two for each task, moved through lists.
const _: () = assert!(size_of::<Action>() <= 200);

/// Where a task stands, for the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskStatus<'a> {
    /// Not terminal, or running again because an output was lost.
    Pending,
    /// Finished; the outputs can be read while somebody holds them.
    Succeeded {
        /// The outputs, in order. One that was given up is empty.
        outputs: &'a [Output],
        /// How often the task had to run again after it had finished.
        generation: Generation,
    },
    /// Finished without a result; the outcome tells whether it was cancelled.
    Failed(&'a Failure),
}

impl<'a> TaskStatus<'a> {
    /// Whether the task has ended.
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Pending)
    }

    /// The outputs of a task that succeeded.
    pub fn outputs(&self) -> Option<&'a [Output]> {
        match *self {
            Self::Succeeded { outputs, .. } => Some(outputs),
            _ => None,
        }
    }

    /// Why the task failed, or was cancelled.
    pub fn failure(&self) -> Option<&'a Failure> {
        match *self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// A task that is not terminal, for people who wonder why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTask {
    /// Which.
    pub id: TaskId,
    /// Its name.
    pub name: Arc<str>,
    /// Its state.
    pub state: TaskState,
    /// When it came into that state.
    pub since_ns: u64,
    /// The attempt that is out.
    pub attempt: Option<AttemptId>,
    /// Where, if the core placed it.
    pub worker: Option<WorkerId>,
    /// Parents whose output is not there.
    pub waits_for: Vec<TaskId>,
}

/// The states of a task; it is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Parents are not finished.
    Waiting,
    /// A failed attempt will be repeated when its time comes.
    BackOff,
    /// All parents are finished; waits for a worker.
    Ready,
    /// An attempt is out.
    Running,
    /// An attempt is out at an engine that holds it until its parents are finished.
    Forwarded,
    /// Ended with outputs.
    Succeeded,
    /// Ended without.
    Failed,
    /// Ended because somebody asked, or because a parent was cancelled.
    Cancelled,
}

impl TaskState {
    /// Number of states.
    pub(crate) const COUNT: usize = 8;

    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How many tasks are where, and what happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks submitted.
    pub submitted: u64,
    /// Tasks that completed with outputs.
    pub succeeded: u64,
    /// Tasks that completed without, upstream failures among them, cancelled ones not.
    pub failed: u64,
    /// Tasks that completed as cancelled.
    pub cancelled: u64,
    /// Attempts after the first of their task; those that were given back do not count.
    pub retried: u64,
    /// Tasks not terminal: what back-pressure counts.
    pub outstanding: u64,
    /// Tasks that wait for parents.
    pub waiting: u64,
    /// Tasks that wait to be tried again.
    pub backing_off: u64,
    /// Tasks that wait for a worker.
    pub ready: u64,
    /// Tasks with an attempt out.
    pub running: u64,
    /// Tasks that an engine holds until their parents are finished.
    pub forwarded: u64,
    /// Tasks that ran again after they had completed.
    pub recomputed: u64,
    /// Attempts lost with their worker.
    pub crashes: u64,
    /// Reports and releases that came late, twice, or for nothing known.
    pub absorbed: u64,
    /// Tasks held in memory, terminal ones that somebody still needs among them.
    pub tasks_held: u64,
    /// Workers.
    pub workers: u64,
}
