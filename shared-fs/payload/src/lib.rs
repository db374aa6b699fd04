//! Payloads: immutable bytes that tasks exchange, and the windows through which guests see them.

mod reference;

pub use reference::{FileRef, Fingerprint, Location, SegmentId, SegmentRef, Transfer, Way};
