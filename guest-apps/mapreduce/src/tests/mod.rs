//! Tests without a sandbox.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod app;
mod counting;
mod files;
mod words;
