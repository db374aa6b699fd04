//! The rules of the core, one by one. What they do together is the simulation's matter.
#![expect(
    clippy::unwrap_used,
    reason = "a test that finds nothing where something must be has failed"
)]

mod cancelling;
mod failures;
mod faults;
mod forwarding;
mod harness;
mod look_ahead;
mod loss;
mod placement;
mod references;
mod retries;
mod submission;
