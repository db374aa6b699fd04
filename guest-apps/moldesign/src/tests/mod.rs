//! Tests without a sandbox.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod app;
mod outputs;
mod reading;
mod selection;
