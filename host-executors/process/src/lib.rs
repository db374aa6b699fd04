//! The executor `process-pool`: worker processes under a manager per node.
//!
//! ```text
//!  coordinator ──────────── data and control channels ────────────┐
//!      │                                                          │
//!      └─► launcher ─┬─► manager of node 0 ─┬─► worker process ◄──┤
//!                    │                      └─► worker process ◄──┤
//!                    └─► manager of node 1 ─── …                ◄─┘
//! ```
//!
//! The launcher has one thread and starts managers; a manager has one thread and starts workers. A
//! process dies with its parent, a node dies with its manager, everything dies with the
//! coordinator, and the launcher is the reaper of what is left. Attempts and reports go straight
//! between coordinator and worker, in batches. Segments stay where they were made: descriptors
//! travel, bytes do not (module `lending`).
//!
//! What this crate never does: schedule or retry. It says which worker was lost, and which attempt
//! ran on it; the engine core decides what follows.

mod channel;
mod child;
mod error;
mod launcher;
mod lending;
mod manager;
mod message;
mod pool;
mod worker;

pub use child::Role;
pub use error::ProcessError;
pub use launcher::serve_launcher;
pub use manager::serve_manager;
pub use pool::{ProcessPool, ProcessPoolOptions, WorkerSetup, account_slots};
pub use worker::serve_worker;
