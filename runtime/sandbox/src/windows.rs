//! Attaching payload windows to guest memory.

use crate::{State, memory::Range, wire::PayloadError};
use std::sync::Arc;
use taps_payload::{Segment, WindowError, WindowKey, WindowLimit, WritableSegment};

/// Checks a window before the cost of what it will show: place, overlap and limits.
pub(crate) fn check(state: &State, range: Range, size: u64) -> Result<(), WindowError> {
    state.windows.check(range.address, range.len)?;
    let wanted_bytes = state.windows.bytes() + range.len as u64;
    let limit_bytes = state.memory.window_bytes();
    if wanted_bytes > limit_bytes {
        return Err(WindowError::Limit(WindowLimit::Bytes {
            wanted_bytes,
            limit_bytes,
        }));
    }
    if size > range.len as u64 {
        return Err(WindowError::TooSmall {
            len: range.len,
            needed_bytes: size,
        });
    }
    Ok(())
}

/// Maps a published segment over the list that the guest passed.
pub(crate) fn attach_input(
    state: &mut State,
    range: Range,
    segment: &Arc<Segment>,
) -> Result<(WindowKey, u64), WindowError> {
    check(state, range, segment.len())?;
    let windows = &mut state.windows;
    // SAFETY: the range comes from the canonical ABI, which has checked it against the linear memory
    // of the calling guest: private anonymous memory (`State::maps` is set only for profiles without
    // copy-on-write images, test `windows_are_not_mapped_over_images`; protection keys are off always). No host reference into it is alive: the list was
    // turned into numbers. The set belongs to the store's data, which is dropped before the memory
    // is given back. Guarded by the attack tests of `taps-payload` and of this crate.
    unsafe { windows.attach_input(range.address, range.len, segment) }
}

/// Maps a segment under construction over the list that the guest passed.
pub(crate) fn attach_output(
    state: &mut State,
    range: Range,
    segment: WritableSegment,
) -> Result<(WindowKey, u64), WindowError> {
    let windows = &mut state.windows;
    // SAFETY: as in `attach_input`.
    unsafe { windows.attach_output(range.address, range.len, segment) }
}

/// Keeps the list that the guest passed clear of windows, and makes it zero: the guest fills its own
/// memory, where there is none for a window.
pub(crate) fn reserve(state: &mut State, range: Range) -> Result<WindowKey, WindowError> {
    let windows = &mut state.windows;
    // SAFETY: as in `attach_input`.
    unsafe { windows.reserve(range.address, range.len) }
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
        WindowError::NotMappable | WindowError::Io { .. } => PayloadError::Io,
    }
}
