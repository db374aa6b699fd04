//! Attaching payload windows to guest memory.

use crate::{memory::Range, wire::PayloadError};
use std::sync::Arc;
use taps_payload::{Segment, WindowError, WindowKey, WindowSet, WritableSegment};

/// Maps a published segment over the list that the guest passed.
pub(crate) fn attach_input(
    windows: &mut WindowSet,
    range: Range,
    segment: &Arc<Segment>,
) -> Result<(WindowKey, u64), WindowError> {
    // SAFETY: the range comes from the canonical ABI, which has checked it against the linear memory
    // of the calling guest: private anonymous memory (`Profile` keeps copy-on-write images off where
    // windows exist, and protection keys off always). No host reference into it is alive: the list was
    // turned into numbers. The set belongs to the store's data, which is dropped before the memory
    // is given back. Guarded by the attack tests of `taps-payload` and of this crate.
    unsafe { windows.attach_input(range.address, range.len, segment) }
}

/// Maps a segment under construction over the list that the guest passed.
pub(crate) fn attach_output(
    windows: &mut WindowSet,
    range: Range,
    segment: WritableSegment,
) -> Result<(WindowKey, u64), WindowError> {
    // SAFETY: as in `attach_input`.
    unsafe { windows.attach_output(range.address, range.len, segment) }
}

/// The error as the guest sees it.
pub(crate) fn payload_error(error: &WindowError) -> PayloadError {
    match error {
        WindowError::Misaligned { .. } => PayloadError::MisalignedWindow,
        WindowError::TooSmall { .. } => PayloadError::WindowTooSmall,
        WindowError::InUse => PayloadError::WindowInUse,
        WindowError::Limit(_) => PayloadError::WindowLimit,
        WindowError::WrongState => PayloadError::WrongState,
        WindowError::StoreFull(_) => PayloadError::StoreFull,
        WindowError::Io { .. } => PayloadError::Io,
    }
}
