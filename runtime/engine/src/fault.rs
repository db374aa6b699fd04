//! Faults: what can be made to go wrong, and the plan that an attempt carries.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a fault does; the names of the first ten are TaPS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAction {
    /// A task that is submitted before the one that is hit, and is a parent of it, fails.
    Dependency,
    /// The task returns an error.
    Failure,
    /// The task returns the error of a missing module.
    Import,
    /// The process that manages the worker's node is killed, and its workers with it.
    ManagerKilled,
    /// The task takes memory until its sandbox has no more.
    Memory,
    /// Every process of the worker's node is killed at once.
    NodeKilled,
    /// The task never ends.
    Timeout,
    /// The task opens handles until its sandbox gives it no more.
    Ulimit,
    /// The worker process is killed.
    WorkerKilled,
    /// The task divides by zero.
    ZeroDivision,
    /// The task's results are gone after they were reported.
    LostResult,
    /// The report of the attempt comes twice, the second time late.
    LateDuplicate,
    /// The worker stands still for a time.
    SlowWorker,
    /// A bit of the result is flipped.
    CorruptPayload,
    /// The external program that the task runs crashes.
    ProgramCrash,
}

/// Who acts a fault out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultActor {
    /// The scheduler, at submission.
    Scheduler,
    /// Code within the sandbox of the attempt.
    Sandbox,
    /// The worker, around the task.
    Worker,
    /// The worker process, by killing itself or others of its node.
    Process,
    /// The coordinator, when it has the report.
    Coordinator,
    /// Whoever runs external programs.
    Program,
}

impl FaultAction {
    /// All of them, in the order of the names in help.
    pub const ALL: [Self; 15] = [
        Self::Dependency,
        Self::Failure,
        Self::Import,
        Self::ManagerKilled,
        Self::Memory,
        Self::NodeKilled,
        Self::Timeout,
        Self::Ulimit,
        Self::WorkerKilled,
        Self::ZeroDivision,
        Self::LostResult,
        Self::LateDuplicate,
        Self::SlowWorker,
        Self::CorruptPayload,
        Self::ProgramCrash,
    ];

    /// TaPS's types, from which `random` draws: the first of all.
    pub const TAPS: &[Self] = Self::ALL.split_at(10).0;

    /// The name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dependency => "dependency",
            Self::Failure => "failure",
            Self::Import => "import",
            Self::ManagerKilled => "manager-killed",
            Self::Memory => "memory",
            Self::NodeKilled => "node-killed",
            Self::Timeout => "timeout",
            Self::Ulimit => "ulimit",
            Self::WorkerKilled => "worker-killed",
            Self::ZeroDivision => "zero-division",
            Self::LostResult => "lost-result",
            Self::LateDuplicate => "late-duplicate",
            Self::SlowWorker => "slow-worker",
            Self::CorruptPayload => "corrupt-payload",
            Self::ProgramCrash => "program-crash",
        }
    }

    /// The action of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Who acts it out.
    pub fn actor(self) -> FaultActor {
        match self {
            Self::Dependency => FaultActor::Scheduler,
            Self::Failure
            | Self::Import
            | Self::Memory
            | Self::Timeout
            | Self::Ulimit
            | Self::ZeroDivision => FaultActor::Sandbox,
            Self::SlowWorker | Self::CorruptPayload => FaultActor::Worker,
            Self::ManagerKilled | Self::NodeKilled | Self::WorkerKilled => FaultActor::Process,
            Self::LostResult | Self::LateDuplicate => FaultActor::Coordinator,
            Self::ProgramCrash => FaultActor::Program,
        }
    }

    /// Whether the attempt that carries it ends with its worker, and without a report.
    pub fn kills(self) -> bool {
        self.actor() == FaultActor::Process
    }
}

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a fault strikes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum FaultPoint {
    /// Before the task function is called.
    #[default]
    Before,
    /// While it runs: at the first chance after [`FaultPlan::mid_us`], at the latest when it returns.
    Mid,
    /// After it returned, before the outputs are published.
    After,
}

impl FaultPoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Mid, Self::After];

    /// The name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Mid => "mid",
            Self::After => "after",
        }
    }

    /// The point of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.name() == name)
    }
}

/// A fault that an attempt carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// What to do.
    pub action: FaultAction,
    /// When to do it.
    pub point: FaultPoint,
    /// With [`FaultPoint::Mid`], how long the task function runs before, in microseconds.
    pub mid_us: u32,
    /// How long [`FaultAction::SlowWorker`] stands still, in milliseconds.
    pub slow_ms: u32,
    /// Seed of what else is random in it, such as which bit is flipped.
    pub seed: u64,
}
