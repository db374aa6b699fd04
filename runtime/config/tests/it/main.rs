//! Tests of the configuration through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod faults;
mod files;
mod fixtures;
mod flags;
mod help;
mod problems;
mod properties;
