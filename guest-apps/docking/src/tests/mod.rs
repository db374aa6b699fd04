//! The parts on their own, and the whole app run locally with the real programs.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test may panic, and its numbers are exact"
)]

mod app;
mod bad_input;
mod files;
mod learning;
