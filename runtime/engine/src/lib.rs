//! The engine core, the executor trait, and the types that coordinator, executors and workers share.
//!
//! [`core::Core`] is the scheduler: a plain state machine that takes events and returns actions.
//! It does no I/O, reads no clock and knows no wasmtime, so a seeded simulator drives it exactly
//! as a real run does. [`Executor`] is what runs attempts; [`Attempt`] and [`AttemptReport`] are the worker
//! protocol, the same in a thread, a process or on an engine's node, and therefore serialisable.
//! [`simulation`] is the simulator.

pub mod core;
pub mod simulation;

mod attempt;
mod executor;
mod fault;
mod holding;
mod ids;
mod outcome;

pub use attempt::{
    Argument, Attempt, AttemptReport, Demands, Instantiation, Limits, Output, ProgramUse, Timeline,
    panic_message,
};
pub use executor::{
    Capabilities, EventSink, Executor, ExecutorEvent, FetchError, Running, StartError, WorkerInfo,
};
pub use fault::{FaultAction, FaultActor, FaultPlan, FaultPoint};
pub use holding::{REPORT_HOLD, report_hold};
pub use ids::{AttemptId, Generation, OutputId, TaskId, WorkerId};
pub use outcome::{Failure, OutcomeKind, TrapKind, chain};
