//! What the sandboxes of a run share, and what they tell the run.

use crate::Grant;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};
use taps_engine::AttemptId;
use taps_payload::SegmentStore;
use taps_programs::Programs;
use taps_transform::DataPlane;

/// Shared by all sandboxes of a run.
pub struct RunContext {
    /// When the run began: zero of all its clocks.
    pub start: Instant,
    /// Where payloads live.
    pub store: SegmentStore,
    /// Where guests' words go.
    pub sink: Box<dyn GuestSink>,
    /// Paths that the run grants, for all fields of the configuration.
    pub grants: Vec<Grant>,
    /// Environment variables that guests see.
    pub environment: Vec<(String, String)>,
    /// Results up to this size travel inline.
    pub inline_max_bytes: u64,
    /// Payloads below this size are read into a window, and not mapped there.
    pub map_min_bytes: u64,
    /// Results get a digest, and arguments are compared with it.
    pub verify_payloads: bool,
    /// The transformer, where there is one.
    pub data: Option<Arc<DataPlane>>,
    /// Native programs, where the app has any.
    pub programs: Option<Programs>,
}

impl RunContext {
    /// For describing a component: nothing is granted, stored or heard.
    pub(crate) fn for_description() -> Result<Self, taps_payload::StoreError> {
        Ok(Self {
            start: Instant::now(),
            store: SegmentStore::new(taps_payload::StoreOptions {
                limit_bytes: Some(0),
                huge_pages: false,
                recycle_bytes: 0,
                ..taps_payload::StoreOptions::default()
            })?,
            sink: Box::new(Deaf),
            grants: Vec::new(),
            environment: Vec::new(),
            inline_max_bytes: 0,
            map_min_bytes: 0,
            verify_payloads: false,
            data: None,
            programs: None,
        })
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaker {
    /// The driver.
    Driver,
    /// An attempt at a task.
    Attempt(AttemptId),
}

/// Weight of a guest's log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Finest detail.
    Trace,
    /// Detail.
    Debug,
    /// Progress.
    Info,
    /// Something unexpected.
    Warn,
    /// Something failed.
    Error,
}

/// A standard stream of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes what guests say.
pub trait GuestSink: Send + Sync {
    /// A line logged by a guest.
    fn log(&self, speaker: Speaker, level: LogLevel, message: &str);

    /// What a guest wrote to a standard stream, and how many bytes more were dropped.
    fn output(&self, speaker: Speaker, stream: Stream, text: &str, dropped_bytes: u64);
}

/// Hears nothing.
struct Deaf;

impl GuestSink for Deaf {
    fn log(&self, _: Speaker, _: LogLevel, _: &str) {}

    fn output(&self, _: Speaker, _: Stream, _: &str, _: u64) {}
}
