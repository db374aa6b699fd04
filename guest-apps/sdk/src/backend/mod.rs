//! What the SDK needs from its surroundings, behind one trait with two implementations:
//! the WIT imports of a component (`imports`), and in-process tables on the host (`local`,
//! serving [`crate::native`] and [`crate::testing`]).
//!
//! Everything above this module is the same code in a sandbox and outside.

use std::borrow::Cow;
use std::time::Duration;

use crate::{Argument, Failure, PayloadError, Result, TaskEntry};

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub(crate) mod host_kernels;
#[cfg(target_arch = "wasm32")]
mod imports;
#[cfg(target_arch = "wasm32")]
mod raw;
#[cfg(target_arch = "wasm32")]
pub use imports::Imports as Current;
#[cfg(target_arch = "wasm32")]
pub(crate) use imports::{HostPayload, enter_task};
#[cfg(target_arch = "wasm32")]
pub(crate) use raw::free_handed_over;

#[cfg(not(target_arch = "wasm32"))]
mod bare;
#[cfg(not(target_arch = "wasm32"))]
mod files;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod local;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod table;
#[cfg(not(target_arch = "wasm32"))]
pub use local::Local as Current;

/// Weight of a log line, from most to least detailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the author.
    Debug,
    /// For the user.
    Info,
    /// Something is odd; the run goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not finished.
    Pending,
    /// Finished; the outputs can be read.
    Succeeded,
    /// Finished without a result.
    Failed,
}

pub use taps_schema::Kernels as KernelMode;

/// Immutable bytes behind a handle.
pub trait BackendPayload: Sized {
    /// The bytes in memory; cheap to clone. Dropping the last clone detaches them.
    type Shared: Clone + AsRef<[u8]>;

    /// Length in bytes.
    fn size(&self) -> u64;
    /// Declared type of the bytes.
    fn media_type(&self) -> String;
    /// Fills `buffer` from `offset` and returns how many bytes there were.
    fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, PayloadError>;
    /// The bytes in place, if the payload is large enough for that to pay; `None` asks the
    /// caller to read.
    fn attach(payload: &std::rc::Rc<Self>) -> Result<Option<Self::Shared>, PayloadError>;
}

/// The surroundings of a task or driver. No function takes `self`: in a component the imports
/// are global, and on the host the table belongs to the thread.
pub trait Backend {
    /// A payload.
    type Payload: BackendPayload;
    /// A result under construction, which is handed over without a copy.
    type Output: AsRef<[u8]> + AsMut<[u8]>;
    /// The future result of a task.
    type Future;
    /// Options of a submission.
    type Options;
    /// A completion queue.
    type Completions;

    /// Writes a line to the log of the run.
    fn log(level: Level, message: &str);
    /// Seed of this driver or attempt.
    fn seed() -> u64;
    /// Number of this attempt, from 0.
    fn attempt() -> u32;
    /// Time since the run began.
    fn clock() -> Duration;
    /// Sleeps; does not return when the attempt is cancelled.
    fn sleep(duration: Duration);
    /// Which kernels the run asks for.
    fn kernel_mode() -> KernelMode;
    /// Whether the attempt should end, for work that takes long. In a sandbox the host ends it.
    fn is_cancelled() -> bool;
    /// Ends a cancelled attempt; does not return.
    fn end_cancelled() -> !;

    /// Zero-filled memory for an output of `size` bytes that needs no copy to be published.
    /// `None` when plain memory is as good (small, or not in a task).
    fn create_output(size: usize) -> Option<Self::Output>;

    /// Runs a native program to its end.
    fn run_program(
        call: ProgramCall<'_, Self::Payload>,
    ) -> Result<ProgramEnd<Self::Payload>, ProgramRefusal>;

    /// Submits a task.
    fn submit(
        task: &'static TaskEntry,
        arguments: Vec<Argument>,
        options: Option<&Self::Options>,
    ) -> Result<Self::Future>;
    /// Makes a payload of a granted file.
    fn input_file(path: &str) -> Result<Self::Payload, PayloadError>;
    /// Marks the start of a phase.
    fn phase(name: &str);

    /// Number of the submission.
    fn future_id(future: &Self::Future) -> u64;
    /// Where the task stands, without waiting.
    fn future_status(future: &Self::Future) -> Status;
    /// Waits for the task and gives one of its outputs.
    fn future_result(future: &Self::Future, output: u32) -> Result<Self::Payload, Failure>;
    /// Why the task failed, if it did.
    fn future_failure(future: &Self::Future) -> Option<Failure>;
    /// Asks for the task to be cancelled.
    fn future_cancel(future: &Self::Future);

    /// Fresh options.
    fn options() -> Self::Options;
    /// Sets one option.
    fn set_option(options: &Self::Options, option: TaskOption<'_>);

    /// An empty completion queue.
    fn completions() -> Self::Completions;
    /// Adds a future to the queue.
    fn completions_add(queue: &Self::Completions, future: &Self::Future, tag: u64);
    /// Waits for completions and appends up to `max` of them to `into`.
    fn completions_next(
        queue: &Self::Completions,
        max: u32,
        timeout: Option<Duration>,
        into: &mut std::collections::VecDeque<(u64, Status)>,
    );
}

/// One call of a native program. `P` is a payload of the host.
#[derive(Debug)]
pub struct ProgramCall<'a, P> {
    /// Name from the task's list.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Files put into the scratch directory: relative path and content.
    pub inputs: Vec<(&'a str, ProgramContent<'a, P>)>,
    /// Relative paths of the files that become payloads.
    pub outputs: &'a [String],
    /// Environment variables.
    pub environment: &'a [(String, String)],
    /// Standard input.
    pub stdin: Option<ProgramContent<'a, P>>,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
}

/// Bytes for a program.
#[derive(Debug)]
pub enum ProgramContent<'a, P> {
    /// Bytes of the task.
    Inline(Cow<'a, [u8]>),
    /// A payload.
    Payload(&'a P),
}

/// How a program ended.
#[derive(Debug)]
pub struct ProgramEnd<P> {
    /// Exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, from its beginning.
    pub stdout: Vec<u8>,
    /// Standard error, from its beginning.
    pub stderr: Vec<u8>,
    /// The output files that exist, in the order asked.
    pub outputs: Vec<Option<P>>,
}

/// Why a program did not run to its end. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramRefusal {
    /// The task does not list it, or nothing here runs programs.
    NotAllowed(String),
    /// It is not installed.
    NotFound(String),
    /// It was killed at a limit.
    Limit(String),
    /// Anything else.
    Failed(String),
}

/// One setting of a submission.
#[derive(Clone, Copy, Debug)]
pub enum TaskOption<'a> {
    /// Wall-clock limit of an attempt, in milliseconds.
    TimeoutMs(u64),
    /// Attempts after the first.
    Retries(u32),
    /// Higher starts first.
    Priority(i32),
    /// Cores that the task occupies.
    Cores(u32),
    /// Memory that the task needs.
    MemoryBytes(u64),
    /// Amount of a custom resource.
    Resource(&'a str, u64),
    /// Label shown in records.
    Label(&'a str),
    /// Whether equal arguments always give equal results.
    Pure(bool),
}

pub(crate) type Payload = <Current as Backend>::Payload;
pub(crate) type Shared = <Payload as BackendPayload>::Shared;
pub(crate) type Output = <Current as Backend>::Output;
pub(crate) type Future = <Current as Backend>::Future;
pub(crate) type Options = <Current as Backend>::Options;
pub(crate) type Completions = <Current as Backend>::Completions;
