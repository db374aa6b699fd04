//! A seeded driver of the core: random graphs on a random executor, with everything going wrong.
//!
//! [`run`] plays driver, executor, workers and payload store against a [`Core`](crate::core::Core),
//! event by event. After each event it checks the core from inside
//! ([`sanity_check`](crate::core::Core::sanity_check)) and from outside: every task completes once,
//! every attempt goes to an idle worker, or one that takes attempts ahead and
//! has room, with inputs that are there, only what waits is asked back and once, all bytes are freed, once, and
//! not under a running attempt. It panics with the seed at the first violation.
//!
//! ```text
//!  Plan ── seed, sizes, rates
//!   │
//!   ▼                submit, release, cancel …  ┌──────┐  Dispatch, Completed, Free …
//!  simulation ─────────────────────────────────►│ Core │───────────────┐
//!   ▲   Finished, WorkerLost, OutputsLost …     └──────┘               ▼
//!   └──────────────────────────────────────────────────────────────── World
//!                                                            (what must be true outside)
//! ```

mod driver;
mod executor;
mod plan;
mod random;
mod world;

pub use plan::{Plan, Rates, Summary};
pub use random::Random;

use driver::Driver;

/// Plays the plan to its end. Panics at the first violation.
pub fn run(plan: &Plan) -> Summary {
    Driver::new(plan).play()
}
