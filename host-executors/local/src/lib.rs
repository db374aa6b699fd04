//! Executors of this machine.
//!
//! `thread-pool` runs each attempt in a sandbox, `native` calls the same task functions without one:
//! the yardstick that makes the cost of isolation a number. Both are a [`ThreadPool`]; they differ
//! in the [`AttemptRunner`] of their workers.
//!
//! What this crate never does: schedule or retry. It runs what the engine core sends, where it says.

mod native;
mod pool;
mod sandboxed;

pub use native::NativeRunner;
pub use pool::{AttemptRunner, RunnerFactory, ThreadPool};
pub use sandboxed::sandboxed;
