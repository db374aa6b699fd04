//! What the processes of a pool say to each other.
//!
//! Each message says how many descriptors come with it. Segments are lent by the process that has
//! them: see [`crate::lending`].

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use taps_engine::{Attempt, AttemptId, AttemptReport, WorkerId};
use taps_payload::{MemoryId, MemoryInfo, Place, SegmentId, SegmentRef};
use taps_programs::ProgramSettings;
use taps_sandbox::{RunSetup, Said};

/// The word among those that a pool shares which says how many workers have nothing to do; the others say what runs.
pub(crate) const IDLE_WORD: usize = 0;

/// A worker slot of a pool: its number, and how often its process was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Incarnation {
    pub(crate) worker: WorkerId,
    pub(crate) number: u32,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ended {
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "it exited with code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
        }
    }
}

/// From the coordinator to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToLauncher {
    /// Starts the manager of a node; one descriptor, its channel.
    StartManager { node: u32, number: u32 },
}

/// From the launcher to the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromLauncher {
    /// The manager could not be started.
    ManagerFailed {
        node: u32,
        number: u32,
        reason: String,
    },
    /// The manager ended; what was left of its node has been killed.
    ManagerEnded {
        node: u32,
        number: u32,
        ended: Ended,
    },
}

/// From the coordinator to a manager.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToManager {
    /// Starts a worker process; one descriptor, its channel.
    StartWorker(Incarnation),
    /// Kills a worker process.
    KillWorker(Incarnation),
}

/// From a manager to the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromManager {
    /// A worker process could not be started.
    Failed { worker: Incarnation, reason: String },
    /// A worker process ended.
    Ended { worker: Incarnation, ended: Ended },
}

/// From the coordinator to a worker, on its data channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// The first message. Descriptors: see [`Setup`].
    Setup(Box<Setup>),
    /// Attempts to run, in order, and news of segments. Descriptors: those of `loans`.
    Batch {
        /// Segments that the attempts use and the worker does not have.
        loans: Loans,
        /// Number of the first attempt; they count up from 1.
        first: u64,
        attempts: Vec<Attempt>,
    },
}

/// From a worker to the coordinator, on its data channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// It can run attempts.
    Ready,
    /// It cannot.
    Failed(String),
    /// Reports, and the segments that they speak of. Descriptors: those of `loans`.
    Batch {
        loans: Loans,
        words: Vec<Said>,
        reports: Vec<AttemptReport>,
    },
}

/// From the coordinator to a worker, on its control channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Attempts to end early, with their numbers.
    Cancel(Vec<(u64, AttemptId)>),
    /// Attempts to give back, if they have not started.
    Recall(Vec<(u64, AttemptId)>),
    /// Asks for a sign of life.
    Ping(u64),
    /// Ends the process: nothing more is wanted of it.
    Stop,
}

/// From a worker to the coordinator, on its control channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ControlReply {
    /// A sign of life.
    Pong(u64),
    /// These never started, and never will.
    Returned(Vec<AttemptId>),
}

/// News of segments, from the process that lends them to the one that borrows them, and back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Loans {
    /// Memory that is new to the borrower, one descriptor each, in order.
    pub(crate) memories: Vec<MemoryInfo>,
    /// Segments lent.
    pub(crate) lent: Vec<Loan>,
    /// Segments lent before, which the borrower shall give back when it can.
    pub(crate) wanted: Vec<SegmentId>,
    /// Memory lent before of which no segment is lent any more.
    pub(crate) closed: Vec<MemoryId>,
    /// Segments that this process had borrowed and gives back: nothing in it can read them.
    pub(crate) given_back: Vec<SegmentId>,
}

impl Loans {
    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            memories,
            lent,
            wanted,
            closed,
            given_back,
        } = self;
        memories.is_empty()
            && lent.is_empty()
            && wanted.is_empty()
            && closed.is_empty()
            && given_back.is_empty()
    }
}

/// A segment lent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Loan {
    pub(crate) segment: SegmentRef,
    pub(crate) place: Place,
}

/// Everything that a worker process needs to know. Its descriptors, in order: the control channel, the
/// status words, the account of the payload store, and one file for each component.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) worker: Incarnation,
    /// Processes that share the account, and this one's slot in it.
    pub(crate) slots: usize,
    pub(crate) slot: usize,
    /// Manifest of the bundle, as JSON.
    pub(crate) manifest: String,
    pub(crate) cache_directory: Option<PathBuf>,
    pub(crate) run: RunSetup,
    /// What programs may do, and the directory of the run's files; where there are any, the socket to
    /// their launcher comes last of the descriptors.
    pub(crate) programs: Option<(ProgramSettings, PathBuf)>,
    pub(crate) store: StoreSetup,
}

/// How a worker makes its payload store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoreSetup {
    pub(crate) kind: taps_payload::StoreKind,
    pub(crate) huge_pages: bool,
    /// Whether they work, as the coordinator found out.
    pub(crate) huge_pages_work: bool,
    pub(crate) recycle_bytes: u64,
    pub(crate) slab_max_bytes: u64,
    /// Identifiers of this store begin here.
    pub(crate) id_space: u32,
    pub(crate) spill_directory: Option<PathBuf>,
    /// Whether a descriptor of the huge-page tmpfs comes after those of the components.
    pub(crate) tmpfs: bool,
}

/// The first attempt of a task, for tests.
#[cfg(test)]
pub(crate) fn bare_attempt(task: u64) -> Attempt {
    Attempt {
        id: AttemptId {
            task: taps_engine::TaskId(task),
            number: 0,
        },
        generation: taps_engine::Generation::default(),
        component: 0,
        task: 0,
        name: "test".into(),
        arguments: Vec::new(),
        limits: taps_engine::Limits::default(),
        seed: 0,
        kernels: taps_schema::Kernels::Host,
        digests: Vec::new(),
        fault: None,
        demands: None,
    }
}
