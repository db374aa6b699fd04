//! Whole runs of a real driver, with an executor that does what a test wants.

mod bench;
mod endings;
mod executor;
mod resume;
mod stress;
mod waiting;
