//! Tests of the parts, and of the whole app with the programs on this machine.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod app;
mod bad_input;
mod files;
mod skies;
mod tables;
