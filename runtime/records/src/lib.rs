//! What a run leaves behind: its directory, its event log, and the views of that log.
//!
//! [`EventLog`] is the one durable output: events are appended as they happen and survive the
//! death of the process. [`LogReader`] reads them back, [`write_tasks_jsonl`] and [`recover`]
//! make `tasks.jsonl` of them. [`RunDir`] is a directory of one run and never of two;
//! [`Environment`] says what the run ran on; [`Logger`] writes the lines of stderr and
//! `log.txt`. [`read_records`] streams the same attempts and tasks to other views.
//! [`write_failures_json`] tells what became of injected faults, [`explain_run`] and
//! [`explain_task`] what became of a run and of a task.
//!
//! This crate decides nothing: it knows neither the engine core nor wasmtime, makes no event of
//! its own, and prints nothing that it was not given.

mod environment;
mod event;
mod explain;
mod history;
mod injection;
mod level;
mod log;
mod logger;
mod run_dir;
mod tasks;
mod wall;
mod whole_file;

pub use environment::{BundleRecord, Environment, EnvironmentExtra};
pub use event::{
    Completion, Delivery, GuestLevel, LogEvent, RunStarted, Source, Stream, SubmitOptions,
    TaskCounts, TaskStatus,
};
pub use explain::{
    ExplainError, FailedTask, Moment, OpenTask, ParentTask, ResumeExplanation, RunCounts,
    RunExplanation, RunState, TaskExplanation, TaskSelector, Travelled, What, Why, WorkerLoss,
    explain_run, explain_task,
};
pub use injection::{Fate, FaultRecord, InjectionSummary, read_faults, write_failures_json};
pub use level::{Level, LevelError};
pub use log::{Dropped, EventLog, FORMAT_VERSION, LogError, LogReader, LogSync, Reopened};
pub use logger::Logger;
pub use run_dir::{
    CONFIG_FILE, ENVIRONMENT_FILE, FAILURES_FILE, LOG_FILE, RunDir, RunDirError, RunDirOptions,
};
pub use tasks::{
    Follower, Reading, Record, TasksSummary, ViewError, read_records, recover, way_name,
    write_tasks_jsonl,
};
pub use wall::WallClock;

/// Name of the event log in a run directory.
pub const EVENTS_FILE: &str = "events.log";

/// Usual name of the task records in a run directory.
pub const TASKS_FILE: &str = "tasks.jsonl";
