//! Drives the engine core of one run: whoever has news applies it, on the spot.
//!
//! ```text
//!   worker ── deliver(report) ─► lock: log, core.handle, completions ─► unlock
//!                                  │ attempts for executor.submit()
//!                                  └ woke the driver? resume its fiber, on this thread
//!   main   ── timers, signals, a driver that computes for long, the end
//! ```
//!
//! A worker that finishes applies its own event, may resume the driver that it woke, and finds its
//! next attempt in its queue. No thread wakes another without need. The lock protects the core and
//! what the driver waits for; it is never held while a guest runs or an executor is called.
//!
//! A run that was killed is resumed by running its driver again: [`History`] is what the log says of the
//! run's earlier life, the driver is shown what it saw then, in the same order, and tasks that had ended
//! are not run again. When all has been shown the run goes on as any other.
//!
//! What this crate never does: run tasks, or decide how a run is presented.

mod coordinator;
mod driver_view;
mod driving;
mod history;
mod memo;
mod memoizing;
mod plan;
mod queues;
mod replay;
mod results;
mod run;
mod run_log;
mod state;
mod submission;
mod transforming;
mod travel;
mod watchdog;

pub use history::{History, HistoryError, HistoryReader};
pub use memo::Memo;
pub use plan::{Plan, RunOutcome, TaskRoutes};
pub use results::{Durable, ResultFiles};
pub use run::{RunError, RunHandle, run};
pub use run_log::RunLog;
pub use travel::{Travel, WayTotal};
