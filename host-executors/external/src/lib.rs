//! Executors that are somebody else's: Dask, Ray, Parsl, TaskVine, Globus Compute, HyperQueue.
//!
//! ```text
//!  coordinator                 guard ─► bridge (Python)            engine's worker (Python)
//!    External ── frames over a socket pair ──► client.submit ─ … ─► shim ── frames ──► taps-wasm worker
//!       ▲                                                              one child each, kept: sandboxes
//!       └── reports, as plain data: errors are values ◄────────────────┘
//! ```
//!
//! The engine places, moves and repeats what it likes; the core counts what it sees. Python does as little as can be:
//! the bridge hands attempts over as bytes that it does not understand, and the shim passes them to a child.
//!
//! | module | holds |
//! |---|---|
//! | `frame`, `message` | what is said on all channels |
//! | `package` | bundle and set-up of a run, for its workers |
//! | `bridge` | the Python process beside the run, its guard, and the executor that speaks to it |
//! | `worker` | `taps-wasm worker`, `exec` and `taskvine-library` |
//!
//! What this crate never does: schedule or retry. What an engine does by itself it reports.

mod bridge;
mod message;
mod package;
mod worker;

pub use bridge::{
    BridgeOptions, EnginePackage, External, ExternalEngine, Interpreter, LogLine, SurveyError,
    serve_guard, survey,
};
pub use package::{Package, PackageError};
use taps_frames as frame;
pub use taps_frames::FrameError;
pub use worker::{
    ExecError, LibraryArguments, WorkerError, WorkerOptions, exec, serve_library, serve_worker,
};
