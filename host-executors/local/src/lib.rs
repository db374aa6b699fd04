//! Executors of this machine: thread-pool and native.
