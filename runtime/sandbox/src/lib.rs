//! Sandboxed execution of components with wasmtime: engines and their profiles, the cache of compiled
//! code, the host's side of the WIT contract, one fresh sandbox per task, and drivers as fibers.
//!
//! ```text
//!  Sandbox ── load ──► LoadedComponent ──► TaskRuntime ── worker ──► TaskWorker::run(attempt) ─► report
//!     │ engines by profile        │                                       one thread, synchronous
//!     └ AOT cache                 └──────► driver(…) ──► DriverFuture        polled by whoever holds it
//! ```
//!
//! What this crate never does: schedule, retry, or decide what a failure means for the run.

mod cache;
mod classify;
mod context;
mod control;
mod driver;
mod driver_host;
mod error;
pub mod faults;
#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "host functions have the signatures that the linker takes"
)]
mod host;
mod live;
#[expect(unsafe_code, reason = "lends guest memory to host functions, in place")]
mod memory;
mod profile;
pub mod programs;
mod publish;
mod said;
mod sandbox;
mod setup;
mod state;
pub mod stored;
mod task;
mod ticker;
#[expect(unsafe_code, reason = "loads native code from the private cache")]
mod trusted;
pub mod verify;
mod wasi;
#[expect(unsafe_code, reason = "maps payloads over guest memory")]
mod windows;
#[expect(
    dead_code,
    reason = "the whole contract, also the parts that only guests make"
)]
mod wire;

pub use cache::{AotCache, CacheError};
pub use context::{GuestSink, LogLevel, RunContext, Speaker, Stream};
pub use control::{CancelToken, Control, Interrupted};
pub use driver::{DriverEnd, DriverFuture, DriverStart, driver, was_cancelled};
pub use driver_host::{
    DriverHost, DriverPayload, DriverStatus, InputFileError, PayloadOrigin, QueueId, Refusal,
};
pub use error::SandboxError;
pub use faults::Killer;
pub use profile::{Interrupt, PoolSize, Profile, pagemap_scan_available};
pub use said::{Said, Voice};
pub use sandbox::{CompileWatcher, LoadedComponent, Sandbox};
pub use setup::{Moment, RunSetup, WorkerParts, WorkerRun};
pub use task::{InstancePolicy, InstanceStatistics, TaskRuntime, TaskWorker, thread_cpu_ns};
pub use wasi::{Grant, GrantKind, OUTPUT_LIMIT_BYTES};

use state::State;
