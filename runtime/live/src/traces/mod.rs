//! Traces for OpenTelemetry: a span for the run, each task, each attempt.

mod collector;
mod exporter;
mod messages;
mod spans;

pub use collector::{Collector, CollectorError};
pub(crate) use exporter::Exporter;
pub use exporter::SpanCounts;
pub(crate) use spans::Spans;
