//! Event log, records and run directory.

mod event;

pub use event::{
    Delivery, GuestLevel, LogEvent, RunStarted, Source, Stream, SubmitOptions, TaskCounts,
    TaskStatus,
};

/// Version of the event log's format: bumped whenever the encoding of any event changes.
pub const FORMAT_VERSION: u32 = 1;
