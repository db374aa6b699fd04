//! Interface `payloads`: results under construction.

use super::payloads::{Answer, PayloadHandle, Store};
use crate::{
    State,
    memory::{Range, lend_mut, lend_range},
    programs::MadeFile,
    windows,
    wire::PayloadError,
};
use taps_payload::{StoreError, WindowKey, WritableSegment};
use wasmtime::component::{LinkerInstance, Resource, ResourceTableError, ResourceType, WasmList};

/// A result under construction.
pub(crate) enum OutputHandle {
    /// In a window of the guest.
    Window(WindowKey),
    /// Written by the host.
    Written(WritableSegment),
    /// In the guest's own memory, because it is too small to be mapped, or there was no memory for a window: copied
    /// to its segment when it is published.
    Buffered(Buffered),
    /// A file that a program made.
    File(MadeFile),
}

/// Guest memory that becomes a segment.
pub(crate) struct Buffered {
    /// Keeps windows away from the range until it is copied.
    pub(crate) key: WindowKey,
    /// A linear memory neither moves nor shrinks, so these bytes stay the guest's for its life.
    pub(crate) range: Range,
    pub(crate) segment: WritableSegment,
}

impl Buffered {
    /// Copies what the guest made.
    pub(crate) fn fill(mut self, state: &mut State) -> wasmtime::Result<Filled> {
        if !state.windows.contains(self.key) {
            // It ended with an earlier attempt, in a reused sandbox.
            return Ok(Err(PayloadError::WrongState));
        }
        let filled = lend_range(state, self.range, |state, bytes| {
            let size = self.segment.len() as usize;
            write_in_pieces(state, &mut self.segment, &bytes[..size])
        })?;
        let detached = state.windows.detach(self.key);
        debug_assert!(detached.is_ok(), "it was there just now");
        Ok(filled.map(|()| self.segment))
    }
}

/// A segment, or why the store could not write it.
pub(crate) type Filled = Result<WritableSegment, PayloadError>;

/// Writes guest memory to a segment, looking for cancellation between pieces.
fn write_in_pieces(
    state: &mut State,
    segment: &mut WritableSegment,
    bytes: &[u8],
) -> wasmtime::Result<Result<(), PayloadError>> {
    for (piece, at) in bytes
        .chunks(WRITTEN_BYTES)
        .zip((0..).step_by(WRITTEN_BYTES))
    {
        if let Err(error) = state.control.check() {
            state.interrupted = Some(error);
            return Err(error.into());
        }
        if let Err(error) = segment.write_at(at, piece) {
            state.payload_failure = Some(error.to_string());
            return Ok(Err(PayloadError::Io));
        }
    }
    Ok(Ok(()))
}

/// As much as is written at once: it may go to a disk.
const WRITTEN_BYTES: usize = 1 << 20;

type Created = (Resource<OutputHandle>, u64);

fn create_output(mut store: Store<'_>, (window, size): (WasmList<u8>, u64)) -> Answer<Created> {
    let range = Range::of(&window, &store);
    let state = store.data_mut();
    if !state.maps {
        let reason = "the component's memory profile has no windows";
        state.payload_failure = Some(reason.to_owned());
        return Ok((Err(PayloadError::WindowLimit),));
    }
    if let Err(error) = windows::check(state, range, size) {
        return Ok((Err(state.window_error(&error)),));
    }
    let payloads = state.run.store.clone();
    if size < state.run.map_min_bytes {
        return create_buffered(state, range, payloads.create(size));
    }
    let segment = match payloads.create_mappable(size) {
        Ok(segment) => segment,
        Err(StoreError::Full { .. }) if payloads.spills() => {
            return create_buffered(state, range, payloads.create_spilled(size));
        }
        Err(error) => return Ok((Err(state.store_error(&error)),)),
    };
    match windows::attach_output(state, range, segment) {
        Ok((key, offset)) => {
            let handle = state.keep(OutputHandle::Window(key))?;
            Ok((handle.map(|handle| (handle, offset)),))
        }
        Err(error) => Ok((Err(state.window_error(&error)),)),
    }
}

/// The guest fills its own memory, which the host copies to the segment when it is published. The
/// segment is made before, so that a full store or disk is known before the work.
fn create_buffered(
    state: &mut State,
    range: Range,
    segment: Result<WritableSegment, StoreError>,
) -> Answer<Created> {
    let segment = match segment {
        Ok(segment) => segment,
        Err(error) => return Ok((Err(state.store_error(&error)),)),
    };
    match windows::reserve(state, range) {
        Ok(key) => {
            let buffered = Buffered {
                key,
                range,
                segment,
            };
            let handle = state.keep(OutputHandle::Buffered(buffered))?;
            Ok((handle.map(|handle| (handle, 0)),))
        }
        Err(error) => Ok((Err(state.window_error(&error)),)),
    }
}

fn copy_output(mut store: Store<'_>, (bytes,): (WasmList<u8>,)) -> Answer<Resource<OutputHandle>> {
    let written = lend_mut(&mut store, &bytes, |state, bytes| {
        let mut segment = match state.run.store.create(bytes.len() as u64) {
            Ok(segment) => segment,
            Err(error) => return Ok(Err(state.store_error(&error))),
        };
        let written = write_in_pieces(state, &mut segment, bytes)?;
        Ok::<_, wasmtime::Error>(written.map(|()| segment))
    })?;
    let answer = match written {
        Ok(segment) => store.data_mut().keep(OutputHandle::Written(segment))?,
        Err(error) => Err(error),
    };
    Ok((answer,))
}

fn output_of_file(
    mut store: Store<'_>,
    (file,): (Resource<PayloadHandle>,),
) -> Answer<Resource<OutputHandle>> {
    let state = store.data_mut();
    let answer = match state.table.get_mut(&file)?.take_made() {
        Some(made) => state.keep(OutputHandle::File(made))?,
        None => Err(PayloadError::WrongState),
    };
    Ok((answer,))
}

fn drop_output(mut store: Store<'_>, index: u32) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let output = state
        .table
        .delete(Resource::<OutputHandle>::new_own(index))?;
    match output {
        OutputHandle::Window(key) | OutputHandle::Buffered(Buffered { key, .. }) => {
            // Gone already where a reused sandbox kept the handle from an earlier attempt.
            let _ = state.windows.detach(key);
        }
        OutputHandle::Written(_) | OutputHandle::File(_) => {}
    }
    Ok(())
}

impl State {
    /// Puts a result under construction into the table, if it has room.
    fn keep(
        &mut self,
        output: OutputHandle,
    ) -> wasmtime::Result<Result<Resource<OutputHandle>, PayloadError>> {
        let key = match &output {
            OutputHandle::Window(key) | OutputHandle::Buffered(Buffered { key, .. }) => Some(*key),
            OutputHandle::Written(_) | OutputHandle::File(_) => None,
        };
        match self.table.push(output) {
            Ok(handle) => Ok(Ok(handle)),
            Err(ResourceTableError::Full) => {
                if let Some(key) = key {
                    let detached = self.windows.detach(key);
                    debug_assert!(detached.is_ok(), "it was attached just now");
                }
                let most = self.table.max_capacity();
                self.payload_failure = Some(format!(
                    "the sandbox has {most} handles, and may not have more"
                ));
                Ok(Err(PayloadError::WindowLimit))
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn add(payloads: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    payloads.resource(
        "output-buffer",
        ResourceType::host::<OutputHandle>(),
        drop_output,
    )?;
    payloads.func_wrap("[static]output-buffer.create", create_output)?;
    payloads.func_wrap("[static]output-buffer.copy", copy_output)?;
    payloads.func_wrap("[static]output-buffer.of-file", output_of_file)
}
