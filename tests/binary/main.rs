//! The program as a user runs it: exit code, output, and what a run leaves on disk.

mod apps;
mod arguments;
mod bad_apps;
mod bad_input;
mod bench;
mod cli;
mod data_plane;
mod durability;
mod explain;
mod fault_matrix;
mod fault_options;
mod fault_targets;
mod harness;
mod mapreduce;
mod memoize;
mod outcomes;
mod pool;
mod process_pool;
mod processes;
mod records;
mod resume;
mod sandbox;
mod specification;
mod summary;
mod verify;
mod walks;
